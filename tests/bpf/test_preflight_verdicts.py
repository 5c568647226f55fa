"""Verdicts of small objects on two pretended kernels: an old one (5.10) and a new one (6.12).

Each object is one way in which kernels differ; the same objects are really loaded in the kernel tests.
"""

from __future__ import annotations

import pytest

from bpf.preflight import allowed, features, kernels, sections
from bpf.preflight.bpf_object import BpfFile
from bpf.preflight.comparing import changes
from bpf.preflight.judge import judge
from bpf.preflight.kernel import Kernel
from bpf.preflight.kernel_config import Config
from bpf.preflight.result import ObjectVerdict
from engine.values import Support
from tests.preflight import building


@pytest.fixture(scope="module")
def old(tmp_path_factory) -> Kernel:
    return building.kernel(tmp_path_factory.mktemp("old"), building.OLD, "5.10.0")


@pytest.fixture(scope="module")
def new(tmp_path_factory) -> Kernel:
    return building.kernel(tmp_path_factory.mktemp("new"), building.NEW, "6.12.1")


def verdict(name: str, kernel: Kernel) -> ObjectVerdict:
    return judge(building.object_of(name), kernel)


def reasons(seen: ObjectVerdict, outcome: str) -> str:
    return " | ".join(
        f"{one.about} {one.item}: {one.reason}" for one in seen.findings if one.outcome == outcome
    )


@pytest.mark.parametrize(
    ("name", "on_old", "on_new", "because"),
    [
        (
            "old_field",
            "works",
            "fails",
            "no field `state` on kernel 6.12.1: kernels ≥ 5.14 call it `__state`",
        ),
        (
            "new_field",
            "fails",
            "works",
            "no field `__state` on kernel 5.10.0: kernels < 5.14 call it `state`",
        ),
        ("new_helper", "fails", "works", "helper bpf_loop: kernels ≥ 5.17 have it"),
        ("user_ring", "fails", "works", "map type user_ringbuf (ring): kernels ≥ 6.1 have it"),
        ("task_storage", "fails", "works", "map type task_storage (storage): kernels ≥ 5.11"),
        ("kfunc_strong", "fails", "works", "kfunc bpf_map_sum_elem_count: kernel 5.10.0 lacks it"),
        ("fetch", "fails", "works", "atomic operations that give the old value back: kernels ≥ 5.12"),
        ("syscall_type", "fails", "works", "program type syscall: kernels ≥ 5.14"),
        ("guarded_field", "works", "works", ""),
        ("version_guarded", "works", "works", ""),
        ("kfunc_weak", "works", "works", ""),
        ("types", "works", "works", ""),
        ("plain_xdp", "works", "works", ""),
        ("resized_field", "fails", "fails", "the field has another size"),
        ("more_arguments", "fails", "fails", "passes 3, the program reads number 4"),
        ("no_struct", "fails", "fails", "has no struct nf_conn"),
    ],
)
def test_what_differs_between_kernels_is_told_with_its_reason(name, on_old, on_new, because, old, new):
    """The verdict is for CI, the words are for whoever must mend it."""
    seen = {"old": verdict(name, old), "new": verdict(name, new)}
    assert (seen["old"].outcome, seen["new"].outcome) == (on_old, on_new)
    failing = [one for one in seen.values() if one.outcome == "fails"]
    assert all(because in reasons(one, "fails") for one in failing[:1])


def test_a_callback_is_refused_by_old_kernels_even_where_nothing_reaches_it(old, new):
    """The kernel looks at the kinds of all instructions, so a guard does not help there."""
    assert verdict("guarded_helper", new).outcome == "works"
    assert "callbacks" in reasons(verdict("guarded_helper", old), "fails")


def test_what_only_another_setting_reaches_is_unknown(old):
    """The agent sets its constants before it loads, and the file does not say to what."""
    seen = verdict("setting", old)
    assert seen.outcome == "unknown"
    assert "other settings than the built-in ones" in reasons(seen, "unknown")


def test_a_program_that_is_not_loaded_by_itself_does_not_fail_the_object(old):
    """``SEC("?…")``: the agent decides; its failure is told all the same."""
    seen = verdict("optional", old)
    assert seen.outcome == "works"
    assert [(one.name, one.load, one.optional) for one in seen.programs] == [
        ("links", "fails", True),
        ("always", "works", False),
    ]


def test_a_function_missing_from_types_alone_is_unknown(new):
    """BTF leaves functions out that kprobes can reach; a list of all symbols decides."""
    assert verdict("split_function", new).outcome == "unknown"
    listed = frozenset({"finish_task_switch.isra.0", "other"})
    sure = Kernel(label="k", release="6.12", btf=new.btf, symbols=lambda: listed)
    seen = verdict("split_function", sure)
    assert "only finish_task_switch.isra.0: the compiler changed" in reasons(seen, "fails")
    assert [(one.load, one.attach) for one in seen.programs] == [("works", "fails")]


def test_a_function_that_cannot_be_traced_is_no_place_for_a_program(new):
    """It is in the types and among the symbols, and still: ftrace does not know it."""
    names = frozenset({"vfs_read", "tcp_v4_connect", "__x64_sys_getpid"})
    kernel = Kernel(
        label="k", release="6.12", btf=new.btf, symbols=lambda: names, traceable=lambda: names - {"vfs_read"}
    )
    seen = {one.name: (one.load, one.attach) for one in verdict("present_function", kernel).programs}
    assert seen["at_entry"] == ("works", "works")
    assert seen["after"] == ("works", "fails")  # fexit/vfs_read loads, and is refused when attached


def test_the_build_options_decide_where_they_are_known(new):
    """A kernel without kprobes has all the types that kprobes would need."""
    without = Kernel(label="k", release="6.12", btf=new.btf, config=Config({"CONFIG_BPF_EVENTS": "y"}, "c"))
    assert "config CONFIG_KPROBES" in reasons(verdict("split_function", without), "fails")


def test_an_option_that_the_object_asks_for_must_be_known(new):
    """``__kconfig`` values are written into the program; a weak one may be missing."""
    assert verdict("kernel_option", new).outcome == "unknown"
    known = Kernel(
        label="k",
        release="6.12",
        btf=new.btf,
        config=Config({"CONFIG_HZ": "250", "CONFIG_BPF_EVENTS": "y"}, "c"),
    )
    assert verdict("kernel_option", known).outcome == "works"


def test_what_the_running_kernel_refuses_when_tried_fails(new):
    """A policy of the machine is in no file."""
    no = Support(answer="no", why="kernel_kinds.bpf.o could not be loaded: EPERM", fix="ask who runs it")
    here = Kernel(
        label="k", release="6.12", btf=new.btf, tried=lambda place: no if place == "trampoline" else None
    )
    seen = {one.name: one.load for one in verdict("present_function", here).programs}
    assert (seen["after"], seen["at_entry"]) == ("fails", "works")


def test_a_tracepoint_needs_tracefs_on_the_running_kernel(new):
    """Loaders look the event's number up there: 'No such file' is about the mount."""
    no = Support(answer="no", why="tracefs is not mounted", fix="mount -t tracefs nodev /sys/kernel/tracing")
    here = Kernel(label="k", release="6.12", btf=new.btf, event=lambda _: no)
    assert "tracefs is not mounted" in reasons(verdict("gone_tracepoint", here), "fails")


def test_without_types_the_version_alone_speaks_for_types_and_helpers(tmp_path):
    """``--kernel 5.10``: no promise about structures, a clear one about what 5.10 never had."""
    kernel = kernels.of_release("5.10", tmp_path)
    assert verdict("plain_xdp", kernel).outcome == "works"
    assert verdict("new_helper", kernel).outcome == "fails"
    assert verdict("old_field", kernel).outcome == "unknown"


def test_the_types_bound_the_version_where_nobody_tells_it(tmp_path):
    """A BTF file has no version, but it lists helpers, and each came with a release."""
    text = building.NEW + "enum bpf_func_id { A, BPF_FUNC_map_lookup_elem, B = 181, __BPF_FUNC_MAX_ID } e;"
    kernel = building.kernel(tmp_path, text, "")
    assert (kernel.features.at_least, kernel.features.before) == ((5, 17), (5, 18))


def test_changes_between_two_kernels_are_those_that_break_and_those_that_move(old, new):
    """CO-RE adjusts what moves; what breaks comes first."""
    before, after = verdict("guarded_field", old), verdict("guarded_field", new)
    rows = list(changes(before, after))
    assert rows
    assert all(one.before == one.after == "works" for one in rows)
    assert any("is it there?" in one.item and (one.value_before, one.value_after) == (0, 1) for one in rows)
    (first, *_) = changes(verdict("old_field", old), verdict("old_field", new))
    assert (first.before, first.after) == ("works", "fails")
    assert "kernels ≥ 5.14 call it `__state`" in first.reason


@pytest.mark.parametrize(
    ("section", "helper", "release", "expected"),
    [
        ("cgroup/sysctl", 37, "6.1", "no"),  # bpf_current_task_under_cgroup
        ("cgroup/sysctl", 37, "6.12", "yes"),
        ("cgroup/sysctl", 37, "6.6", "unknown"),  # between two that were tried
        ("raw_tp/x", 46, "6.12", "unknown"),  # bpf_get_socket_cookie: none that was tried
        ("raw_tp/x", 1, "4.19", "yes"),
        ("uprobe.s/x", 148, "6.1", "yes"),  # bpf_copy_from_user, where a program may sleep
        ("fentry/x", 999, "6.1", "yes"),
    ],
)
def test_a_helper_must_be_allowed_to_the_type_of_program(section, helper, release, expected):
    """That the kernel has a helper is not enough; 'unknown func' is what the verifier says then."""
    wanted = sections.read(section)
    assert wanted is not None
    assert allowed.check(wanted.kind, helper, features.known(None, features.version(release)))[0] == expected


def test_every_kind_of_section_names_types_that_are_known():
    """A misspelt one would only be found by an agent that uses it."""
    for section in (
        "xdp",
        "tc/ingress",
        "cgroup/connect4",
        "cgroup/recvmsg_unix",
        "?fentry.s/x",
        "struct_ops.s/x",
    ):
        wanted = sections.read(section)
        assert wanted is not None
        assert features.number("program", wanted.kind.program)
        assert not wanted.kind.attach or features.number("attach", wanted.kind.attach) >= 0
    assert sections.read("my_own_section") is None


def test_a_licence_that_is_not_compatible_loses_the_helpers_for_it(new):
    """The verifier says 'cannot call GPL-restricted function'; the file says it before."""
    closed = building.small("guarded_field").replace(b"GPL\0", b"MIT\0", 1)
    assert "GPL-compatible licences" in reasons(judge(BpfFile(closed, "x"), new), "fails")
