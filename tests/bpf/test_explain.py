"""From texts to causes: the families of messages, the hints that mislead, and what host facts add.

The texts are short forms of what kernels, libraries and agents print; the collection of real
failures is measured where it is at hand.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpf.explain.causes import CAUSES
from bpf.explain.reading import MOST, Text
from bpf.explain.scoring import RULES, explain, explain_text
from bpf.explain.table import find_in_line, parse

DATA = Path(__file__).resolve().parents[3] / "shared/data/load-and-loss-failures.jsonl"
TRIVIAL = (
    "Couldn't load trivial BPF program. Make sure your kernel supports BPF (CONFIG_BPF_SYSCALL=y) and/or "
    "that RLIMIT_MEMLOCK is set to big enough value."
)
EPERM = "map create: operation not permitted (MEMLOCK may be too low, consider rlimit.RemoveMemlock)"


def first(text, **host):
    """The name of the likeliest cause, or None."""
    causes = explain(text, host or None)
    return causes[0].name if causes else None


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("R0 invalid mem access 'map_value_or_null'", "verifier_null_check"),
        ("invalid access to map value, value_size=8 off=8 size=8", "verifier_bounds"),
        ("R2 unbounded memory access, use 'var &= const' or 'if (var < const)'", "verifier_bounds"),
        ("R6 !read_ok", "verifier_uninit_or_type"),
        ("invalid indirect read from stack R2 off -16+4 size 8", "verifier_uninit_or_type"),
        ("Unreleased reference id=2 alloc_insn=13", "verifier_uninit_or_type"),
        ("combined stack size of 2 calls is 576. Too large", "verifier_stack_limit"),
        ("invalid write to stack R10 off=-600 size=8", "verifier_stack_limit"),
        ("back-edge from insn 12 to 4", "verifier_loop_or_complexity"),
        ("BPF program is too large. Processed 1000001 insn", "verifier_loop_or_complexity"),
        ("load program: argument list too long", "verifier_loop_or_complexity"),
        ("unknown func bpf_get_current_comm#16", "verifier_helper_not_allowed"),
        ("cannot call GPL-restricted function from non-GPL compatible program", "license_gpl"),
        ("libbpf: failed to find valid kernel BTF", "btf_missing"),
        (
            "apply CO-RE relocations: load kernel spec: no BTF found for kernel version 5.4.0: not supported",
            "btf_missing",
        ),
        (
            "failed to resolve CO-RE relocation <byte_off> [42] struct task_struct.state",
            "core_relocation_failed",
        ),
        ("call unknown#195896080", "core_relocation_failed"),
        ("cannot attach kprobe, probe entry may not exist", "attach_target_missing"),
        ("token do_gone: not found: kprobe do_gone: no such file or directory", "attach_target_missing"),
        ("neither debugfs nor tracefs are mounted", "tracefs_debugfs_not_mounted"),
        (
            "open /sys/kernel/debug/tracing/kprobe_events: no such file or directory",
            "tracefs_debugfs_not_mounted",
        ),
        ("pin map to /sys/fs/bpf/a: not on a bpf filesystem", "pin_path_or_bpffs"),
        (
            "Unable to find kernel headers. Try rebuilding kernel with CONFIG_IKHEADERS=m",
            "missing_kernel_config",
        ),
        ("fork/exec ./agent: exec format error", "arch_mismatch"),
        ("failed to attach kprobe: too many open files", "kprobe_attach_limit"),
        ("Possibly lost 12 samples", "ringbuf_or_perfbuf_drops"),
        ("ERROR: map full: no space left in map conns", "map_full"),
        ("entries of dead pids are never removed from the map, it keeps growing", "map_unbounded_growth"),
        ("Memory cgroup out of memory: Killed process 12 (agent) total-vm:100kB", "oom_kill"),
        ("RSS of the agent grows steadily, a memory leak", "memory_leak_userspace"),
        ("agent at 100% CPU: busy loop in epoll_wait, user space", "high_cpu_userspace"),
        ("high cpu: perf top shows bpf_prog_ab12 on every syscall", "high_cpu_bpf_prog"),
        ("Lockdown: agent: use of bpf to read kernel RAM is restricted", "lockdown_or_lsm"),
        ("avc: denied { prog_load } for tclass=bpf", "lockdown_or_lsm"),
        ("requires CAP_BPF and CAP_PERFMON: operation not permitted", "missing_capability"),
        ("bpf: operation not permitted; kernel.unprivileged_bpf_disabled = 2", "unprivileged_bpf_disabled"),
        ("pods is forbidden: violates PodSecurity baseline", "seccomp_or_container_policy"),
        ("map create: cannot allocate memory: raise RLIMIT_MEMLOCK with ulimit -l", "memlock_rlimit"),
        ("kernel is too old: needs Linux 5.8 or newer", "kernel_too_old"),
        ("tc: cannot add clsact qdisc: no such file or directory", "missing_kernel_config"),
        ("libbpf: unsupported BTF_KIND:19\nlibbpf: failed to find valid kernel BTF", "other"),
        ("aarch64, 5.15: fentry: prog 'p': failed to attach: ERROR: strerror_r(-524)=22", "arch_mismatch"),
        ("maximum of 1000 probes allowed, attempted 1470", "kprobe_attach_limit"),
    ],
)
def test_each_family_of_messages_leads_to_its_cause(text, cause):
    """The plainest wording of each family."""
    assert first(text) == cause


@pytest.mark.parametrize(
    ("text", "cause", "not_this"),
    [
        (EPERM, "missing_capability", "memlock_rlimit"),
        (
            f"Error in bpf_object__probe_loading():Operation not permitted(1). {TRIVIAL}",
            "missing_capability",
            "missing_kernel_config",
        ),
        (
            f"Error in bpf_object__probe_loading():Permission denied(13). {TRIVIAL}",
            "lockdown_or_lsm",
            "memlock_rlimit",
        ),
        (
            "trace_exit: load program: program of this type cannot use helper bpf_probe_read#4",
            "lockdown_or_lsm",
            "verifier_uninit_or_type",
        ),
        (
            "map events_ring: map create: invalid argument, kernel 5.4.0-96-generic, type RingBuf",
            "kernel_too_old",
            "map_full",
        ),
        (
            "map create: invalid argument (ring map size 4096 not a multiple of page size 65536)",
            "map_create_failed",
            "kernel_too_old",
        ),
        (
            "updating conns map: update: key too big for map: argument list too long",
            "map_full",
            "verifier_loop_or_complexity",
        ),
        (
            "create map conns: argument list too long (max_entries 4294967295)",
            "map_create_failed",
            "map_full",
        ),
        ("failed to attach: -ENOTSUPP, Unknown error 524", "missing_kernel_config", "attach_target_missing"),
        ("attempt to corrupt spilled pointer on stack", "missing_capability", "verifier_stack_limit"),
        ("setrlimit(RLIMIT_MEMLOCK): operation not permitted", "missing_capability", "memlock_rlimit"),
        (
            'syscall event drop "n_drops":"7" "n_drops_buffer":"0" "n_drops_pf":"7"',
            "other",
            "ringbuf_or_perfbuf_drops",
        ),
        ("open /sys/kernel/security/lockdown: no such file or directory", "other", "lockdown_or_lsm"),
        (
            "libbpf: license of agent_bpf is GPL\nfailed to attach kprobe: too many open files",
            "kprobe_attach_limit",
            "license_gpl",
        ),
    ],
)
def test_signals_that_mislead_are_not_believed(text, cause, not_this):
    """Each of these has sent somebody to the wrong cause."""
    names = [found.name for found in explain(text)]

    assert names[0] == cause
    assert not_this not in names[:1]


@pytest.mark.parametrize(
    ("facts", "cause"),
    [
        ({"caps_effective": "cap_net_admin", "seccomp": "disabled"}, "missing_capability"),
        ({"caps_effective": "cap_bpf cap_sys_admin", "seccomp": "filter"}, "seccomp_or_container_policy"),
        (
            {"caps_effective": "cap_bpf cap_sys_admin", "seccomp": "disabled", "lockdown": "confidentiality"},
            "lockdown_or_lsm",
        ),
        (
            {
                "caps_effective": "cap_bpf cap_sys_admin",
                "seccomp": "disabled",
                "kernel_version": 5004,
                "memlock_bytes": 65536,
                "memcg_accounting": "no",
            },
            "memlock_rlimit",
        ),
    ],
)
def test_one_errno_never_decides_the_hosts_facts_do(facts, cause):
    """The same EPERM text, four hosts, four causes."""
    assert first(EPERM, **facts) == cause


def test_a_fact_rules_out_what_it_contradicts():
    """From 5.11 on the limit of locked memory isn't looked at, whatever the message says."""
    text = "failed to create map: operation not permitted. Try ulimit -l unlimited"

    assert first(text) == "memlock_rlimit"
    assert first(text, kernel_version=6001, memcg_accounting="yes") == "missing_capability"


def test_facts_alone_accuse_nobody():
    """A host without BTF explains no lost event."""
    causes = explain("Possibly lost 12 samples", {"btf": "no", "bpffs": "no", "caps_effective": "none"})

    assert causes[0].name == "ringbuf_or_perfbuf_drops"
    assert all(cause.name not in ("btf_missing", "missing_capability") for cause in causes)


def test_every_named_cause_quotes_the_lines_that_spoke_for_it():
    """Word for word, so that an operator finds them again."""
    text = "agent starting\n  libbpf: failed to find valid kernel BTF\nagent ends\n"

    assert explain(text)[0].speaks_for == ("libbpf: failed to find valid kernel BTF",)


def test_of_a_verifier_log_the_last_complaint_counts():
    """What stands before it is often a remark that every load makes."""
    text = (
        "R1 type=ctx expected=fp\n3: (bf) r1 = r2\ninvalid access to packet, off=0 size=4\nprocessed 4 insns"
    )

    assert first(text) == "verifier_bounds"


@pytest.mark.parametrize(
    ("report", "cause"),
    [
        (
            "R0 invalid mem access 'map_value_or_null'\n\nVerification failed: Register Type Safety: "
            "Invalid dereference\n\nReason:\n  R0 may be NULL here.",
            "verifier_null_check",
        ),
        (
            "Verification failed: Memory Safety: Out-of-bounds access\n\nReason:\n  R1 may go past the end "
            "of the map value.",
            "verifier_bounds",
        ),
    ],
)
def test_the_reports_of_kernel_7_are_read_too(report, cause):
    """From 7.x on the verifier tells its reasons in sentences."""
    assert first(report) == cause


def test_a_map_that_is_full_because_nothing_leaves_it_is_not_too_small():
    """A larger map would only last longer."""
    text = "map update: argument list too long; the number of keys in the map only increases, never decreases"

    assert first(text) == "map_unbounded_growth"


def test_where_nothing_specific_speaks_what_was_tried_and_the_errno_do():
    """The causes that such failures have most often, with little confidence."""
    causes = explain("loading eBPF objects failed: invalid argument")

    assert causes
    assert causes[0].confidence < 0.6


def test_a_text_about_something_else_names_nothing():
    """Better no answer than a guess."""
    assert explain("Dear all, the lunch is at noon.\nRegards") == ()


def test_confidences_are_shares_and_leave_room_for_doubt():
    """They add up to less than one, and fall."""
    found = [cause.confidence for cause in explain(EPERM)]

    assert sum(found) < 1.0
    assert found == sorted(found, reverse=True)
    assert found[0] < 0.7  # this text alone can't be sure


def test_the_table_is_whole():
    """Every cause has rules; every rule has known causes, a meaning, a source and phrases."""
    assert {cause for rule in RULES for cause in rule.speaks} == set(CAUSES)
    for rule in RULES:
        assert rule.means
        assert rule.source
        for phrase in (*rule.when, *rule.needs, *rule.unless):
            assert phrase == phrase.lower()
            assert all(word for piece in parse(phrase).pieces for word in piece), phrase
    assert all(set(about.beside) <= set(CAUSES) for about in CAUSES.values())


def test_a_phrase_is_its_pieces_in_order_on_one_line():
    """The whole language of the table."""
    phrase = parse("failed to|could not … map … too large")

    assert find_in_line(phrase, "could not create the map: it is too large")
    assert not find_in_line(phrase, "the map is too large: could not create")
    assert not find_in_line(phrase, "failed to create map" + " " * 500 + "too large")


def test_a_huge_log_is_judged_within_bounds_and_says_so():
    """The last complaint is kept, what says least goes."""
    log = "\n".join(f"line number {chr(97 + n % 26) * (n % 50)} says hello {n}" for n in range(60_000))

    text = Text.of(f"{log}\nlibbpf: failed to find valid kernel BTF")

    assert len(text.joined) < 1.2 * MOST
    assert explain_text(text)[0].name == "btf_missing"


def test_repeated_lines_count_once():
    """A line that comes ten thousand times is still one fact."""
    assert len(Text.of("lost 12 events on cpu 3\n" * 10_000).lines) == 1


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=2000))
def test_any_text_is_survived(text):
    """Whatever an agent prints."""
    assert all(0.0 <= cause.confidence < 1.0 for cause in explain(text))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            sorted({word for rule in RULES for phrase in rule.when for word in phrase.split(" … ")})
        ),
        max_size=60,
    )
)
def test_any_mixture_of_the_tables_own_words_is_survived(words):
    """The worst input for the matcher is made of its own pieces."""
    explain(" ".join(words) * 20)


@pytest.mark.skipif(not DATA.exists(), reason="the collection of real failures is not beside this checkout")
def test_on_the_collection_of_real_failures_the_confirmed_cause_is_found():
    """At least 85 % at the first place, 95 % among the first three."""
    rows = [json.loads(line) for line in DATA.read_text("utf-8").splitlines()]
    ranked = [([cause.name for cause in explain(row["text"])], row["root_cause"]) for row in rows]

    assert {row["root_cause"] for row in rows} <= set(CAUSES)
    assert sum(names[:1] == [cause] for names, cause in ranked) >= 0.85 * len(rows)
    assert sum(cause in names[:3] for names, cause in ranked) >= 0.95 * len(rows)
