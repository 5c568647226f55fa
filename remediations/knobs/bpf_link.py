"""Whether a BPF program of the agent is attached, by its link: detached from outside, in force at once.

The kernel detaches only links of network devices, network name spaces and cgroups; those of
tracepoints and probes (raw_tracepoint, tracing, perf_event, kprobe_multi …) live for as long as the agent
holds them, which is said. A detached link can't be attached again: only the agent makes a
new one, when it starts.

Source: ``BPF_LINK_DETACH`` (Linux 5.9), ``struct bpf_link_info``, ``include/uapi/linux/bpf.h``.
Cost: two calls per link of the machine to find it.

Not here: which program may be detached (``detach_program``), starting the agent anew (``start``).
"""

from __future__ import annotations

import ctypes as c
import os
import struct
from collections.abc import Iterator, Mapping

import msgspec

from engine.errors import ChangedSince
from engine.values import Change, Knob, KnobValue, Setting, Target
from remediations.knobs.backend import NotChanged, Restored, State
from remediations.knobs.bpf_call import bpf

_PROG_BY_ID, _INFO, _LINK_BY_ID, _LINK_DETACH = 13, 15, 30, 34
#: Kinds that can be detached, and where ``struct bpf_link_info`` says what to: 0 when to nothing.
_DETACHABLE = {3: ("cgroup", "=Q"), 5: ("netns", "=I"), 6: ("xdp", "=I"), 11: ("tcx", "=I"),
               13: ("netkit", "=I")}  # fmt: skip
_OTHERS = {1: "raw_tracepoint", 2: "tracing", 4: "iter", 7: "perf_event", 8: "kprobe_multi",
           9: "struct_ops", 10: "netfilter", 12: "uprobe_multi", 14: "sockmap"}  # fmt: skip
_NAME_AT, _NAME_BYTES = 64, 16  # in struct bpf_prog_info
NAME_CHARACTERS = _NAME_BYTES - 1


class Link(msgspec.Struct, frozen=True):
    """A link of the machine: its kind in words, and whether it is attached; None: can't be told."""

    id: int
    kind: str
    program: str
    attached: bool | None

    @property
    def detachable(self) -> bool:
        """The kernel can detach it from outside."""
        return self.attached is not None


class BpfLink:
    """Backend ``bpf-link``: the program ``Knob.path`` of the target, ``true`` while it is attached."""

    name = "bpf-link"

    def read(self, knob: Knob, target: Target) -> KnobValue:
        """Whether it is attached; unreadable where it could not be detached."""
        source = f"link of the BPF program {knob.path}"
        try:
            link = _find(knob, target)
        except NotChanged as error:
            return KnobValue(source=source, missing=f"{error.problem} ({error.fix})")
        source = f"{source} ({link.kind} {link.id})"
        return KnobValue(value=link.attached, raw=str(link.id), effective=link.attached, source=source)

    def capture(self, change: Change, target: Target) -> dict[str, Setting]:
        """Which link it is."""
        link = _find(change.knob, target)
        if link.attached is not change.before:
            raise _since(change)
        return {"link": link.id, "kind": link.kind, "program": link.program}

    def write(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> None:  # noqa: ARG002
        """Detach it."""
        link = _read(int(str(captured["link"])))
        if link is None or link.program != captured["program"] or not link.attached:
            raise _since(change)
        fd = bpf(_LINK_BY_ID, struct.pack("=I", link.id))
        try:
            bpf(_LINK_DETACH, struct.pack("=I", fd))
        except OSError as error:
            raise NotChanged(
                f"link {link.id} can't be detached: {error.strerror}",
                fix="switch the program off in the agent",
            ) from None
        finally:
            os.close(fd)

    def state(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> State:  # noqa: ARG002
        """A link that went with its process counts as ``before``: the agent attaches anew when it starts."""
        link = _read(int(str(captured["link"])))
        ours = link is not None and link.program == captured["program"] and link.attached is False
        return "after" if ours else "before"

    def restore(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> Restored:
        """Say whether the agent must be started anew: a link can't be attached again from outside."""
        if self.state(change, target, captured) == "after":
            return Restored(reload=True)
        return Restored(reload=False, note=f"{change.knob.path} is attached, or its process has ended")


def _find(knob: Knob, target: Target) -> Link:
    """The link of the program among the target's.

    Raises:
        NotChanged: There is none, or it can't be detached.
    """
    found = [link for id_ in target.link_ids if (link := _read(id_)) and _same(link.program, knob.path)]
    if not found:
        raise NotChanged(
            f"no link of {target.name} belongs to a program {knob.path}",
            fix="programs attached without a link can only be switched off by the agent",
        )
    usable = [link for link in found if link.detachable]
    if not usable:
        raise NotChanged(
            f"{knob.path} hangs on a {found[0].kind} link, which the kernel does not detach from outside",
            fix="name the agent's own setting as the knob optional-program of its profile",
        )
    return usable[0]


def _same(name: str, wanted: str) -> bool:
    return name[:NAME_CHARACTERS] == wanted[:NAME_CHARACTERS]


def _read(link_id: int) -> Link | None:
    """The link now; None when it is gone, or we may not look."""
    for info in _info(_LINK_BY_ID, link_id):
        kind, _, program_id = struct.unpack_from("=III", info)
        word, layout = _DETACHABLE.get(kind, (_OTHERS.get(kind, f"kind {kind}"), ""))
        attached = struct.unpack_from(layout, info, 16)[0] != 0 if layout else None
        return Link(link_id, word, _program(program_id), attached)
    return None


def _program(program_id: int) -> str:
    for info in _info(_PROG_BY_ID, program_id):
        return info[_NAME_AT : _NAME_AT + _NAME_BYTES].split(b"\0")[0].decode(errors="replace")
    return ""


def _info(command: int, object_id: int) -> Iterator[bytes]:
    """Its info, once; nothing when there is no such object."""
    try:
        fd = bpf(command, struct.pack("=I", object_id))
    except OSError:
        return
    try:
        buffer = c.create_string_buffer(256)
        bpf(_INFO, struct.pack("=IIQ", fd, len(buffer), c.addressof(buffer)))
        yield buffer.raw
    finally:
        os.close(fd)


def _since(change: Change) -> ChangedSince:
    return ChangedSince(
        f"the link of {change.knob.path} is no longer as it was. Left as it is",
        fix="look at it: bpftool link list; a program of the agent is attached anew when it starts",
    )
