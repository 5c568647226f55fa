"""Is this agent all right? Eight questions, each answered with what was seen.

Its promise: it decides from the case alone; what could not be looked at is ``unknown``, never good;
and every bad answer names the runbook or the command that goes on from there.

The eight: kernel, BTF, programs, maps, kernel log, agent log, resources, losses.
Not here: why something is bad. That is the other diagnoses' work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bpf.diagnoses.wording import cores, count, octets, share
from engine.values import Case, Cause, Check, Verdict

NAME = "quick-check"
#: The oldest kernel with which most agents work: 5.8 has ring buffers, CAP_BPF and CAP_PERFMON.
OLDEST_KERNEL = 5_008
#: Shares and cores beyond which a number is worth a look. CPU above the 0.1 of `high-cpu`: in one second
#: a healthy agent may well have more to do than on average.
MAP_FULL, CPU_CORES, MEMORY_LEFT, THROTTLED = 0.9, 0.25, 0.1, 0.05
#: A line of the kernel's log older than this is history, in seconds.
RECENT_S = 24 * 3600.0

_HOUR_S = 3600.0


class QuickCheck:
    """The diagnosis ``quick-check``."""

    name = NAME
    summary = "the eight first questions about an agent, in a second"
    causes: Mapping[str, str] = {
        "kernel": "The kernel is too old, or forbids what agents need.",
        "btf": "The kernel does not tell its types, which CO-RE programs need.",
        "programs": "No BPF program of the agent is loaded.",
        "maps": "A map is nearly full.",
        "kernel-log": "The kernel's log tells of an error about BPF, or of the agent killed.",
        "agent-log": "The agent's own log tells of errors.",
        "resources": "The agent takes more CPU or memory than it should, or is held back.",
        "losses": "Events are being lost.",
    }
    wants = (
        "host-facts", "bpf-objects", "map-fill", "kernel-log", "agent-log",
        "process", "program-cost", "event-flow",
    )  # fmt: skip

    def decide(self, case: Case) -> Verdict:
        """Answer all eight; the bad ones are the causes, in the order of the questions."""
        checks = tuple(_asked(name, question, case) for name, question in QUESTIONS.items())
        bad = tuple(check for check in checks if check.answer == "bad")
        unknown = sum(check.answer == "unknown" for check in checks)
        good = len(checks) - len(bad) - unknown
        told = [f"{good} of {len(checks)} good"]
        told += [f"bad: {', '.join(check.name for check in bad)}"] if bad else []
        told += [f"{unknown} could not be looked at"] if unknown else []
        causes = (
            Cause(
                name=check.name.replace(" ", "-").lower(),
                sentence=check.sentence,
                confidence=1.0,
                fix=check.fix,
            )
            for check in bad
        )
        return Verdict(diagnosis=NAME, sentence="; ".join(told), causes=tuple(causes), checks=checks)


Answer = tuple[bool | None, str, str]
"""Good (None: unknown), what was seen, and the way on."""


def _asked(name: str, question: Callable[[Case], Answer], case: Case) -> Check:
    good, sentence, fix = question(case)
    if good is None:
        return Check(name=name, answer="unknown", sentence=sentence, fix=fix)
    return Check(name=name, answer="good" if good else "bad", sentence=sentence, fix="" if good else fix)


def _kernel(case: Case) -> Answer:
    release, version = case.text("host.kernel_release"), case.number("host.kernel_version")
    if release is None or version is None:
        return None, "the kernel's version could not be read", ""
    lockdown = case.text("host.lockdown") or "unknown"
    words = f"{release}, lockdown {lockdown}" if lockdown not in {"none", "unknown"} else release
    if version < OLDEST_KERNEL:
        return (
            False,
            f"{words}: older than 5.8, without ring buffers and CAP_BPF",
            "see the agent's least kernel",
        )
    if lockdown == "confidentiality":
        return False, f"{words}: BPF may not read kernel memory", "boot with lockdown=integrity, or none"
    return True, words, ""


def _btf(case: Case) -> Answer:
    btf = case.text("host.btf")
    if btf is None:
        return None, "it could not be looked for", ""
    fix = "a kernel with CONFIG_DEBUG_INFO_BTF, or a BTF file for the agent (runbook run load-failure)"
    return btf == "yes", "/sys/kernel/btf/vmlinux is " + ("there" if btf == "yes" else "missing"), fix


def _programs(case: Case) -> Answer:
    programs, attached = case.number("objects.programs"), case.number("objects.attached")
    if programs is None:
        return None, _unseen(case, "objects", "programs"), "sudo runbook doctor"
    if not case.target.processes:
        pinned = f"; {count(programs)} of its programs are still there" if programs else ""
        return False, f"{case.target.name} does not run{pinned}", "runbook run agent-down"
    if not programs:
        return False, "none is loaded", "runbook run load-failure"
    return True, f"{count(programs)} loaded, {count(attached or 0)} attached by a link", ""


def _maps(case: Case) -> Answer:
    fill, name = case.number("maps.fill_share"), case.text("maps.name")
    if fill is None:
        number = case.number("objects.maps")
        if number == 0:
            return True, "it has none", ""
        seen = case.evidence.get("maps")
        if seen is not None:
            return True, f"{count(number or 0)} maps, none of a kind that fills", ""
        return None, _unseen(case, "maps", "fill_share"), ""
    entries, most = case.number("maps.entries"), case.number("maps.max_entries")
    words = f"the fullest, {name}, holds {share(fill)}"
    words += f" ({count(entries)} of {count(most)})" if entries is not None and most is not None else ""
    if case.number("maps.evicts"):
        return True, f"{words}; it makes room by itself (LRU)", ""
    return fill < MAP_FULL, words, "runbook run map-near-full"


def _kernel_log(case: Case) -> Answer:
    errors, kills = case.number("klog.errors"), case.number("klog.kills")
    if errors is None or kills is None:
        return None, _unseen(case, "klog", "errors"), "run as root, or: sysctl kernel.dmesg_restrict=0"
    for name, fix in (("last_kill", "runbook run memory-leak"), ("last_error", "runbook run load-failure")):
        age = case.number(f"klog.{name}_age_s")
        if age is not None and age < RECENT_S:
            return False, f"{_ago(age)}: {case.text(f'klog.{name}')}", fix
    back = case.number("klog.covers_s") or 0.0
    return True, f"nothing about BPF or this agent in the last {_hours(min(back, RECENT_S))}", ""


def _agent_log(case: Case) -> Answer:
    errors, line = case.number("log.recent_errors"), case.text("log.recent_error")
    if errors is None:
        fix = "set log: in the agent's profile" if not case.target.log_file else ""
        return None, _unseen(case, "log", "recent_errors"), fix
    if errors:
        return (
            False,
            f"{count(errors)} of its last lines tell of errors: {line}",
            f"runbook explain {case.target.log_file}",
        )
    return True, "no error in its last lines", ""


def _resources(case: Case) -> Answer:
    own, programs = case.number("process.cpu_cores"), case.number("cost.cpu_cores") or 0.0
    memory = case.number("process.rss_bytes")
    if own is None or memory is None:
        return None, _unseen(case, "process", "cpu_cores"), ""
    words = f"CPU {cores(own + programs)}"
    words += f" ({cores(programs)} of it in BPF)" if programs >= 0.001 else ""
    words += f", memory {octets(memory)}"
    limit, left = case.number("process.memory_limit_bytes"), case.number("process.memory_left_bytes")
    if limit and left is not None:
        words += f", {octets(left)} left of {octets(limit)}"
        if left < MEMORY_LEFT * limit:
            return False, words, "runbook run memory-leak"
    throttled = case.number("process.throttled_share") or 0.0
    if throttled > THROTTLED:
        return (
            False,
            f"{words}, held back in {share(throttled)} of its quota's periods",
            "runbook run high-cpu",
        )
    return own + programs <= CPU_CORES, words, "runbook run high-cpu"


def _losses(case: Case) -> Answer:
    lost, taken = case.number("flow.dropped_per_s"), case.number("flow.out_per_s")
    if lost is None:
        return None, _unseen(case, "flow", "dropped_per_s"), "name its rings and counters in the profile"
    words = f"{count(lost)} events/s lost"
    words += f", {count(taken)} read" if taken is not None else ""
    fill = case.number("flow.fill_peak")
    words += f", buffer at most {share(fill)} full" if fill is not None else ""
    return lost == 0, words, "runbook run events-dropped"


#: In the order of the guide.
QUESTIONS: Mapping[str, Callable[[Case], Answer]] = {
    "kernel": _kernel,
    "BTF": _btf,
    "programs": _programs,
    "maps": _maps,
    "kernel log": _kernel_log,
    "agent log": _agent_log,
    "resources": _resources,
    "losses": _losses,
}


def _unseen(case: Case, short: str, name: str) -> str:
    """Why a reading is not there."""
    seen = case.evidence.get(short)
    reading = seen.readings.get(name) if seen else None
    return (reading.missing if reading and reading.missing else "") or "could not be looked at"


def _ago(seconds: float) -> str:
    return f"{_hours(seconds)} ago"


def _hours(seconds: float) -> str:
    if seconds < _HOUR_S:
        return f"{max(1, round(seconds / 60))} min"
    return f"{seconds / _HOUR_S:.0f} h"
