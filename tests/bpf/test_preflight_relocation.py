"""CO-RE relocations resolved as libbpf does it: one rule, one test, each on a few lines of C."""

from __future__ import annotations

import pytest

from bpf.preflight.access import Kind, Request, describe
from bpf.preflight.bpf_object import BpfFile
from bpf.preflight.btf import ENUMS, STRUCT, TYPEDEF, UNION, Btf, essential_name
from bpf.preflight.missing import explain
from bpf.preflight.relocation import Resolved, resolve
from tests.preflight.building import btf_bytes, compiled

PROGRAM = """
#include <linux/types.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#define READ __attribute__((preserve_access_index))
%s
char LICENSE[] SEC("license") = "GPL";
SEC("raw_tp/x") long x(__u64 *ctx) { struct thing *t = (void *)ctx[0]; (void)t; return %s; }
"""


def asked(types: str, expression: str) -> tuple[Btf, list[Request]]:
    """The object's own types, and its relocations in the order of the code."""
    found = BpfFile(compiled(PROGRAM % (types, expression)), "x.bpf.o")
    assert found.btf is not None
    requests = found.requests["raw_tp/x"]
    return found.btf, [requests[at] for at in sorted(requests)]


def answers(types: str, expression: str, kernel: str) -> list[Resolved]:
    """What each relocation becomes on a kernel of these types."""
    local, requests = asked(types, expression)
    theirs = Btf(btf_bytes(kernel), "kernel")
    return [resolve(local, one, candidates(local, one, theirs)) for one in requests]


def candidates(local: Btf, request: Request, theirs: Btf) -> list[tuple[Btf, int]]:
    kind = local.kind(request.type_id)
    kinds = ENUMS if kind in ENUMS else (kind,)
    return [(theirs, one) for one in theirs.alike(essential_name(local.name(request.type_id)), kinds)]


def values(types: str, expression: str, kernel: str) -> list[int | None]:
    return [one.value for one in answers(types, expression, kernel)]


THING = "struct thing { int wanted; } READ;"


@pytest.mark.parametrize(
    ("kernel", "offset"),
    [
        ("struct thing { long before; int wanted; } keep;", 8),
        ("struct thing { long before; struct { int x; union { int y; int wanted; }; }; } keep;", 12),
        ("struct thing { long before; unsigned long long wanted; } keep;", 8),  # integers of any size
        ("struct thing { long before; enum e { A } wanted; } keep;", None),  # an enum is no integer
        ("struct thing { long before; int *wanted; } keep;", None),
        ("struct thing { long before; int other; } keep;", None),
        ("union thing { int wanted; } keep;", None),  # a union is no struct
    ],
)
def test_a_field_is_found_by_its_name_where_its_type_agrees(kernel, offset):
    """Also within nameless parts; anything else reads the wrong bytes."""
    assert values(THING, "BPF_CORE_READ(t, wanted)", kernel) == [offset]


def test_a_flavour_is_the_same_structure_under_another_name():
    """``struct x___old`` is how programs know a structure of several kernels; the last mark counts."""
    kernel = "struct thing { long before; int wanted; } keep;"
    types = "struct thing___of_old { int wanted; } READ; struct thing { int a; } READ;"
    assert values(types, "BPF_CORE_READ((struct thing___of_old *)t, wanted)", kernel) == [8]
    assert [essential_name(name) for name in ("a___b", "a____b", "a___b___c", "___a", "a___")] == [
        "a", "a____b", "a___b", "___a", "a___",
    ]  # fmt: skip


def test_an_index_must_lie_within_the_kernels_array_unless_it_is_open():
    """A shorter array is a failure; an open array at the end has no end."""
    types = "struct thing { int first; int list[8]; } READ;"
    read = "BPF_CORE_READ(t, list[5])"
    assert values(types, read, "struct thing { long first; int list[16]; } keep;") == [8 + 5 * 4]
    assert values(types, read, "struct thing { long first; int list[4]; } keep;") == [None]
    assert values(types, read, "struct thing { long first; int list[]; } *keep;") == [8 + 5 * 4]
    assert values(types, read, "struct thing { int list[0]; long last; } keep;") == [None]


def test_a_question_is_answered_and_never_fails():
    """Programs ask before they read: 'no' is an answer."""
    types = THING + "enum known { ONE = 1, TWO = 2 };"
    asks = (
        "bpf_core_field_exists(t->wanted) + bpf_core_type_exists(struct thing)"
        " + bpf_core_enum_value_exists(enum known, TWO) + bpf_core_type_size(struct thing)"
    )
    there = "struct thing { long a, wanted; } keep; enum known { NIL, TWO = 7 } keep2;"
    elsewhere = "struct other { long a; } keep;"
    assert sorted(values(types, asks, there)) == [1, 1, 1, 16]
    assert values(types, asks, elsewhere) == [0, 0, 0, 0]


def test_an_enumerators_value_is_the_kernels():
    """By its name, whatever its number; a missing one fails."""
    types = THING + "enum known { ONE = 1, TWO___mine = 2 };"
    read = "bpf_core_enum_value(enum known, TWO___mine)"
    assert values(types, read, "enum known { TWO = 7 } keep;") == [7]
    assert [one.state for one in answers(types, read, "enum known { ONE } keep;")] == ["missing"]


def test_bit_fields_come_with_offset_size_sign_and_shifts():
    """What BPF_CORE_READ_BITFIELD needs: the load that holds the bits, and how to move them."""
    types = "struct thing { unsigned int a : 3; int b : 5; } READ;"
    read = "BPF_CORE_READ_BITFIELD_PROBED(t, b)"
    kernel = "struct thing { unsigned long long pad; unsigned int x : 9; int b : 6; } keep;"
    local, requests = asked(types, read)
    theirs = Btf(btf_bytes(kernel), "kernel")
    found = {one.kind: resolve(local, one, candidates(local, one, theirs)).value for one in requests}
    assert found == {
        Kind.FIELD_OFFSET: 8,
        Kind.FIELD_SIZE: 4,
        Kind.FIELD_LSHIFT: 64 - 15,
        Kind.FIELD_RSHIFT: 64 - 6,
        Kind.FIELD_SIGNED: 1,
    }


def test_candidates_that_disagree_are_refused():
    """Two flavours in the kernel with other offsets: libbpf refuses to guess."""
    kernel = "struct thing { int wanted; } keep; struct thing___2 { int a, wanted; } keep2;"
    (found,) = answers(THING, "BPF_CORE_READ(t, wanted)", kernel)
    assert found.state == "refused"
    same = "struct thing { int wanted; } keep; struct thing___2 { int wanted, b; } keep2;"
    assert values(THING, "BPF_CORE_READ(t, wanted)", same) == [0]


@pytest.mark.parametrize(
    ("local", "kernel", "resized"),
    [
        ("unsigned int", "unsigned long long", False),
        ("int", "long long", True),
        ("void *", "char *", False),
        ("long long", "int", True),
    ],
)
def test_a_direct_load_of_another_size_is_only_mended_where_it_can_be(local, kernel, resized):
    """An unsigned number may be loaded shorter or longer; a signed one would lose its sign."""
    (found,) = answers(
        f"struct thing {{ {local} wanted; }} READ;",
        "(long)t->wanted",
        f"struct thing {{ {kernel} wanted; }} keep;",
    )
    assert (found.state, found.resized) == ("found", resized)


def test_types_match_only_when_every_member_does():
    """The strictest question (``bpf_core_type_matches``): names, kinds and sizes, down to pointers."""
    types = "struct thing { int a; struct other { long b; } *p; } READ;"
    matching = "struct thing { char new; int a; struct other { char c; } *p; } keep;"
    other_size = "struct thing { long long a; struct other { long b; } *p; } keep;"
    local, (request,) = asked(types, "bpf_core_type_exists(struct thing)")
    strict = Request(at=request.at, type_id=request.type_id, access="0", kind=Kind.TYPE_MATCHES)
    for kernel, expected in ((matching, 1), (other_size, 0)):
        theirs = Btf(btf_bytes(kernel), "kernel")
        assert resolve(local, strict, candidates(local, strict, theirs)).value == expected


def test_what_is_missing_is_told_with_what_is_there_instead():
    """'has no field' alone sends people to the sources; the nearest name saves the way."""
    local, (request,) = asked(
        "struct task_struct { long state; } READ; " + THING, ("BPF_CORE_READ((struct task_struct *)t, state)")
    )
    theirs = Btf(btf_bytes("struct task_struct { int __state; } keep;"), "kernel")
    assert describe(local, request) == "struct task_struct.state"
    told = explain(local, request, candidates(local, request, theirs), "kernel 6.1")
    assert told == "struct task_struct has no field `state` on kernel 6.1: kernels ≥ 5.14 call it `__state`"
    near = Btf(btf_bytes("struct task_struct { int states; } keep;"), "kernel")
    assert "kernels ≥ 5.14" in explain(local, request, candidates(local, request, near), "k")
    nothing = Btf(btf_bytes("struct other { int a; } keep;"), "kernel")
    assert explain(local, request, candidates(local, request, nothing), "k") == "k has no struct task_struct"


def test_names_are_looked_up_exactly_and_by_kind():
    """A struct, a union and a typedef may share a name; a name within a name is another."""
    types = Btf(
        btf_bytes("typedef struct thing { int a; } thing; union my_thing { thing b; } keep;"), "kernel"
    )
    assert [types.name(one) for one in types.named("thing", (STRUCT, TYPEDEF, UNION))] == ["thing", "thing"]
    assert len(types.named("thing", (STRUCT,))) == 1
    assert types.first("hing", (STRUCT,)) == 0
