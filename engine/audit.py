"""The audit: every run, change, approval, undo and refusal in the journal, and whether it was altered.

One promise: nothing is left out and nothing summed up: one row per thing that somebody may
have to answer for, with who, what, when, why, by whose leave, how it was proven and what became of it.

This is the door; inside are ``engine.auditing``'s rooms: ``entry``, ``rows``, ``changes``, ``gathering``,
``verifying``, ``forms``. Not here: the chain of hashes (``engine.journal.chain``).
"""

from engine.auditing.entry import Entry
from engine.auditing.forms import FORMS, must_be_known, render
from engine.auditing.gathering import each, entries
from engine.auditing.rows import of_run
from engine.auditing.verifying import Verified, sentence, verify

__all__ = [
    "FORMS", "Entry", "Verified", "each", "entries", "must_be_known", "of_run", "render", "sentence",
    "verify",
]  # fmt: skip
