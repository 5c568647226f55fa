"""Loaded by every Python of a kill campaign (it stands on PYTHONPATH): dies at a commit when it is told to.

``$MORTAL`` is a directory. A file ``queue.before``, ``queue.after``, ``journal.before`` or ``journal.after``
there is an order for the next commit of that kind, made by whom the file names (anybody where it is empty):
whoever removes the file first ends itself as by kill -9. ``seen`` there gets each kind of commit once.
"""

# ruff: noqa: PTH108, PTH123 - it is loaded by every Python, so it imports little

import importlib.machinery
import os
import signal
import sys
from contextlib import contextmanager

PLACE = os.environ.get("MORTAL", "")
SEEN: set[str] = set()
PASSED_OVER = ("/contextlib.py", "/worker/queue.py", "/journal/store.py", "sitecustomize.py")


def maker():
    """The function that asked for this commit."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.endswith(PASSED_OVER):
        frame = frame.f_back
    return frame.f_code.co_qualname if frame is not None else ""


def moment(kind, when):
    """Die here, if it is ordered."""
    by = maker()
    if f"{kind} {by}" not in SEEN:
        SEEN.add(f"{kind} {by}")
        with open(f"{PLACE}/seen", "a") as file:
            file.write(f"{kind} {by}\n")
    order = f"{PLACE}/{kind}.{when}"
    try:
        with open(order) as file:
            wanted = file.read()
        if wanted in ("", by):
            os.unlink(order)
            with open(f"{PLACE}/died", "a") as file:
                file.write(f"{kind} {when} {by}\n")
            os.kill(os.getpid(), signal.SIGKILL)
    except FileNotFoundError:
        pass


def mortal_queue(module):
    """Transactions, and statements outside of one."""
    transaction, do = module.Queue.transaction, module.Queue.do

    @contextmanager
    def dying(self):
        with transaction(self):
            yield
            moment("queue", "before")
        moment("queue", "after")

    def doing(self, statement, *values):
        alone = not self.db.in_transaction
        if alone:
            moment("queue", "before")
        found = do(self, statement, *values)
        if alone:
            moment("queue", "after")
        return found

    module.Queue.transaction, module.Queue.do = dying, doing


def mortal_journal(module):
    """Commits of the journal."""
    commit = module.Journal.commit

    def dying(self):
        moment("journal", "before")
        commit(self)
        moment("journal", "after")

    module.Journal.commit = dying


CHANGED = {"engine.server.worker.queue": mortal_queue, "engine.journal.store": mortal_journal}


class Change:
    """Puts the moments into modules as they are imported."""

    def find_spec(self, name, path=None, target=None):
        if name not in CHANGED:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        load = spec.loader.exec_module

        def changed(module):
            load(module)
            CHANGED[name](module)

        spec.loader.exec_module = changed
        return spec


if PLACE:
    sys.meta_path.insert(0, Change())
