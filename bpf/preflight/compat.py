"""When two types of two kernels are the same for CO-RE: libbpf's rules, three of them.

``fields_agree`` for reading a field, ``types_agree`` for asking whether a type exists, ``types_match``
for asking whether it is just so. Source: libbpf ``relo_core.c`` (``bpf_core_fields_are_compat``,
``__bpf_core_types_are_compat``, ``__bpf_core_types_match``).

Not here: finding the types and their fields (``bpf.preflight.relocation``).
"""

from __future__ import annotations

from bpf.preflight.btf import (
    ARRAY,
    COMPOSITES,
    ENUMS,
    FLOAT,
    FUNC_PROTO,
    FWD,
    INT,
    PTR,
    STRUCT,
    UNION,
    Btf,
    essential_name,
)

_DEEPEST = 32


def kinds_agree(one: int, other: int) -> bool:
    """Same kind; an enum of 32 bits and one of 64 are the same kind."""
    return one == other or (one in ENUMS and other in ENUMS)


def fields_agree(  # noqa: PLR0911 - one rule per kind, as libbpf has them
    local: Btf, local_id: int, other: Btf, other_id: int
) -> bool:
    """Whether a field of the one type can be read as the other."""
    for _ in range(_DEEPEST):
        local_id, other_id = local.plain(local_id), other.plain(other_id)
        kind, theirs = local.kind(local_id), other.kind(other_id)
        if kind in COMPOSITES and theirs in COMPOSITES:
            return True
        if not kinds_agree(kind, theirs):
            return False
        if kind in (PTR, FLOAT):
            return True
        if kind == FWD or kind in ENUMS:
            names = essential_name(local.name(local_id)), essential_name(other.name(other_id))
            return not all(names) or names[0] == names[1]
        if kind == INT:
            return _whole(local, local_id) and _whole(other, other_id)
        if kind != ARRAY:
            return False
        local_id, other_id = local.array(local_id)[0], other.array(other_id)[0]
    return False


def types_agree(  # noqa: PLR0911, PLR0913, PLR0917 - one rule per kind, as libbpf has them
    local: Btf, local_id: int, other: Btf, other_id: int, level: int = _DEEPEST, root: bool = True
) -> bool:
    """Whether the other type is one of this name and kind; of functions, parameters count too."""
    if root and not kinds_agree(local.kind(local_id), other.kind(other_id)):
        return False  # a typedef is looked for as a typedef
    for _ in range(_DEEPEST):
        local_id, other_id = local.plain(local_id), other.plain(other_id)
        kind = local.kind(local_id)
        if not kinds_agree(kind, other.kind(other_id)):
            return False
        if kind in (0, FWD, *COMPOSITES, *ENUMS):
            return True
        if kind == INT:
            return _whole(local, local_id) and _whole(other, other_id)
        if kind == PTR:
            local_id, other_id = local.refers(local_id), other.refers(other_id)
        elif kind == ARRAY:
            local_id, other_id = local.array(local_id)[0], other.array(other_id)[0]
        elif kind == FUNC_PROTO:
            mine, theirs = local.parameters(local_id), other.parameters(other_id)
            if len(mine) != len(theirs) or level <= 0:
                return False
            pairs = zip(mine, theirs, strict=True)
            if not all(types_agree(local, a, other, b, level - 1, root=False) for a, b in pairs):
                return False
            local_id, other_id = local.refers(local_id), other.refers(other_id)
        else:
            return False
    return False


def types_match(  # noqa: PLR0911, PLR0912, PLR0913, PLR0917 - one rule per kind, as libbpf has them
    local: Btf, local_id: int, other: Btf, other_id: int, behind: bool = False, level: int = _DEEPEST
) -> bool:
    """Whether every member and parameter of the local type is in the other, alike.

    ``behind`` a pointer, names and kinds are enough.
    """
    if level <= 0:
        return False
    for _ in range(_DEEPEST):
        local_id, other_id = local.plain(local_id), other.plain(other_id)
        if not _names_match(local.name(local_id), other.name(other_id)):
            return False
        kind, theirs = local.kind(local_id), other.kind(other_id)
        if kind == FWD:
            return _declared_as(local, local_id, other, other_id, behind)
        if kind in ENUMS:
            return theirs in ENUMS and _enums_match(local, local_id, other, other_id)
        if kind in COMPOSITES:
            if not behind:
                return kind == theirs and _members_match(local, local_id, other, other_id, level)
            return kind == theirs or (theirs == FWD and (kind == UNION) == other.flag(other_id))
        if kind != theirs:
            return False
        if kind == 0:
            return True
        if kind == INT:
            same_sign = local.encoding(local_id)[0] == other.encoding(other_id)[0]
            return same_sign and local.size(local_id) == other.size(other_id)
        if kind == PTR:
            behind = True
            local_id, other_id = local.refers(local_id), other.refers(other_id)
        elif kind == ARRAY:
            (local_id, mine), (other_id, their_count) = local.array(local_id), other.array(other_id)
            if mine != their_count:
                return False
        elif kind == FUNC_PROTO:
            parameters, wanted = other.parameters(other_id), local.parameters(local_id)
            if len(parameters) != len(wanted):
                return False
            pairs = zip(wanted, parameters, strict=True)
            if not all(types_match(local, a, other, b, behind, level - 1) for a, b in pairs):
                return False
            local_id, other_id = local.refers(local_id), other.refers(other_id)
        else:
            return False
    return False


def _whole(types: Btf, type_id: int) -> bool:
    """No integer of the old style, which starts within a byte."""
    return types.encoding(type_id)[1] == 0


def _names_match(local: str, other: str) -> bool:
    return essential_name(local) == essential_name(other) if other else not local


def _declared_as(local: Btf, local_id: int, other: Btf, other_id: int, behind: bool) -> bool:
    """A forward declaration against the other type: the flag tells a union from a struct."""
    union, kind = local.flag(local_id), other.kind(other_id)
    if kind == FWD:
        return union == other.flag(other_id)
    return behind and kind == (UNION if union else STRUCT)


def _enums_match(local: Btf, local_id: int, other: Btf, other_id: int) -> bool:
    theirs = {essential_name(name) for name, _ in other.enumerators(other_id)}
    mine = {essential_name(name) for name, _ in local.enumerators(local_id)}
    return local.size(local_id) == other.size(other_id) and mine <= theirs


def _members_match(local: Btf, local_id: int, other: Btf, other_id: int, level: int) -> bool:
    theirs = other.members(other_id)
    return all(
        any(
            _names_match(mine.name, their.name)
            and types_match(local, mine.type, other, their.type, False, level - 1)
            for their in theirs
        )
        for mine in local.members(local_id)
    )
