"""Why a relocation found nothing, in words: what there is on the kernel instead.

Its promise: it names the first part of the access that is not there, and the nearest thing that is.

Not here: whether it matters (``bpf.preflight.judge``).
"""

from __future__ import annotations

import difflib

from bpf.preflight.access import Kind, Refusal, Request, Spec, essential_kind, parse
from bpf.preflight.btf import COMPOSITES, KIND_NAMES, Btf, essential_name
from bpf.preflight.relocation import match
from bpf.preflight.renames import FIELDS


def explain(local: Btf, request: Request, candidates: list[tuple[Btf, int]], kernel: str) -> str:
    """One sentence for a request that no candidate answers."""
    name = essential_name(local.name(request.type_id))
    title = f"{essential_kind(local, request.type_id)} {name}"
    if not candidates:
        return f"{kernel} has no {title}"
    try:
        wanted = parse(local, request)
    except Refusal as refusal:
        return str(refusal)
    if request.kind in (Kind.ENUMERATOR_EXISTS, Kind.ENUMERATOR_VALUE):
        return f"{title} has no `{essential_name(wanted.steps[0].name)}` on {kernel}"
    types, type_id = candidates[0]
    for length in range(1, len(wanted.steps) + 1):
        part = Spec(wanted.root, wanted.steps[:length])
        if match(local, part, types, type_id, request.kind) is None:
            return _step(local, wanted, length - 1, types, type_id, request, kernel)
    return f"{title} on {kernel} does not fit"


def _step(  # noqa: PLR0913, PLR0917 - both sides of one step
    local: Btf, wanted: Spec, number: int, types: Btf, type_id: int, request: Request, kernel: str
) -> str:
    """The step that fails, and the struct on the kernel that lacks it."""
    step = wanted.steps[number]
    before = match(local, Spec(wanted.root, wanted.steps[:number]), types, type_id, request.kind)
    if not step.name or before is None or not before.steps:
        return f"an array on {kernel} is shorter than element {step.index}, or is none"
    last = before.steps[-1]
    holder = types.plain(types.members(last.type)[last.index].type if last.name else last.type)
    name = types.name(holder)
    title = f"{KIND_NAMES.get(types.kind(holder), 'type')} {name or '(anonymous)'}"
    names = field_names(types, holder)
    if step.name in names:
        return f"{title} on {kernel} has `{step.name}`, but as another kind of type"
    known = FIELDS.get((essential_name(name), step.name))
    if known:
        return f"{title} has no field `{step.name}` on {kernel}: {known}"
    near = difflib.get_close_matches(step.name, names, n=1, cutoff=0.7)
    hint = f" (the nearest name is `{near[0]}`)" if near else ""
    return f"{title} has no field `{step.name}` on {kernel}{hint}"


def field_names(types: Btf, type_id: int, depth: int = 0) -> list[str]:
    """All names one can write after the dot, those of nameless parts included."""
    if types.kind(type_id) not in COMPOSITES or depth > 8:
        return []
    names: list[str] = []
    for member in types.members(type_id):
        if member.name:
            names.append(member.name)
        else:
            names += field_names(types, types.plain(member.type), depth + 1)
    return names
