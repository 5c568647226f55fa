"""What a profile says of one setting: where it stands, its unit and bounds, and how it takes effect.

One promise: these structs are the document; the editor's schema and the reader are made of them, so a
field that is not here is refused.

Not here: the rest of a profile (``engine.agents.profile``), a knob filled in for a process (``values.Knob``).
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from engine.language.model import AsWritten, Name, Seconds

Texts = Annotated[tuple[str, ...], Meta(extra={"reads": "one-or-many"})]
Unit = Literal[
    "bytes", "KiB", "MiB", "GiB", "pages", "ns", "us", "ms", "s", "count", "one-in-n", "cores",
    "share", "text", "bool", "list", "preset", "doublings",
]  # fmt: skip


class Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Base of all parts of a profile."""


class ReloadSpec(Part, frozen=True, kw_only=True):
    """How the agent is made to take a new setting.

    Attributes:
        by: `none` when it takes effect at once.
        signal: Such as `SIGHUP`.
        unit: The systemd unit that is reloaded or restarted.
        argv: A command, as a list; it never goes through a shell.
        url: Sent a POST.
        settle: The longest time until the setting is in force.
        confirm: A series on the metrics page that grows with each reload.
        loses: What state is lost, one phrase each.
    """

    by: Literal["none", "signal", "systemd", "command", "http"] = "none"
    signal: str = "SIGHUP"
    unit: str = ""
    argv: tuple[str, ...] = ()
    url: str = ""
    settle: Seconds = 10.0
    confirm: str = ""
    loses: tuple[str, ...] = ()


class KnobSpec(Part, frozen=True, kw_only=True):
    """One setting: where it stands, its bounds, and how it takes effect.

    Attributes:
        backend: The way to read and write it, such as `yaml-file`, `bpf-variable` or `cgroup`.
        file: Its file; the profile's `config` when not given.
        path: The key path in the file, or the variable's name.
        unit: Of the value as written there.
        default: What the agent does when the setting is absent, as it would be written there.
        minimum: The least it takes; with a unit, or a number in the knob's own unit.
        maximum: The most it takes.
        choices: For text, the allowed words.
        presets: For unit `preset`: what each value amounts to, such as `{4: 8MiB, 5: 16MiB}`.
        base: For unit `doublings`: what 0 amounts to; each 1 more doubles it.
        rounding: What fits; `power-of-two` is of the knob's own unit.
        misfit: Whether a value that does not fit is `rounded` silently or `refused` at start.
        per: What has the size: `total` one buffer; `cpu` one for each possible CPU, `online-cpu` for each
            that is on; `cpu-share`: one buffer, of which the value is each possible CPU's share.
        cpus_each: For `per: cpu`: how many CPUs share one, 0 for all; a number or a placeholder.
        unbounded: The value that means "no limit".
        reload: Overrides the profile's reload.
        live: The same setting through a door that needs no reload.
        map: The BPF map that it belongs to, where the agent has several: `map-capacity`, `map-kind`.
        in_force: A series on the metrics page that holds the value the agent works with.
        verified: Whether its effect was seen to work; else a change always asks.
        needs: What makes it useful, in words.
        warns: What a change of it may cause, a sentence each.
        otherwise: Other places for the same setting, in order: the first in which it is set counts, else
            the first of all.
        source: Where its facts were read: a file of the agent's repository, a page of its documents.
        help: What else to know.
    """

    backend: Name
    file: str = ""
    path: str = ""
    unit: Unit = "count"
    default: AsWritten = None
    minimum: AsWritten = None
    maximum: AsWritten = None
    choices: tuple[str, ...] = ()
    presets: dict[str, AsWritten] = {}
    base: AsWritten = None
    rounding: Literal["none", "page", "power-of-two", "power-of-two-pages"] = "none"
    misfit: Literal["rounded", "refused"] = "rounded"
    per: Literal["total", "cpu", "online-cpu", "cpu-share"] = "total"
    cpus_each: int | str = 1
    unbounded: AsWritten = None
    reload: ReloadSpec | None = None
    live: KnobSpec | None = None
    map: str = ""
    in_force: str = ""
    verified: bool = True
    needs: str = ""
    warns: Texts = ()
    otherwise: tuple[KnobSpec, ...] = ()
    source: str = ""
    help: str = ""
