"""Programs don't load: what keeps them from it, and what would mend it."""

from __future__ import annotations

from bpf.lab.fault import Fault, evenly

#: Fault without ``bad-``, file in ``bad/``, cause, what the verifier says.
BAD_PROGRAMS = (
    ("program", "null-check", "verifier_null_check", "The verifier misses a check: may there be no entry?"),
    ("bounds", "bounds", "verifier_bounds", "The verifier misses a bound on an index."),
    ("stack", "stack", "verifier_stack_limit", "A program takes more than 512 bytes of stack."),
    ("loop", "loop", "verifier_loop_or_complexity", "A program has a loop that nothing bounds."),
    ("uninitialised", "uninitialised", "verifier_uninit_or_type", "A program reads what nothing has set."),
    ("helper", "helper", "verifier_helper_not_allowed", "A program calls a helper of other program types."),
    ("licence", "licence", "license_gpl", "A program under another licence calls a helper for the GPL."),
    ("relocation", "relocation", "core_relocation_failed", "A program reads a field that no kernel has."),
)

LOAD: tuple[Fault, ...] = (
    Fault(
        name="missing-capability",
        summary="The agent runs as nobody, and nothing gives it CAP_BPF and CAP_PERFMON.",
        sources=evenly(1_000),
        as_nobody=True,
        fails=True,
        runbook="load-failure",
        cause="missing_capability",
        remedy="file-capabilities",
    ),
    Fault(
        name="dropped-capability",
        summary="CAP_BPF, CAP_PERFMON and CAP_SYS_ADMIN are gone from its bounding set for good.",
        sources=evenly(1_000),
        without_capabilities=True,
        fails=True,
        runbook="load-failure",
        cause="missing_capability",
    ),
    Fault(
        name="seccomp",
        summary="A seccomp filter refuses bpf(), as that of a container does.",
        settings={"practice.forbid_bpf": "true"},
        sources=evenly(1_000),
        fails=True,
        runbook="load-failure",
        cause="seccomp_or_container_policy",
    ),
    Fault(
        name="memlock",
        summary="The agent may lock 64 KiB of memory; that counts before kernel 5.11 only.",
        settings={"practice.memlock_limit": "64KiB"},
        sources=evenly(1_000),
        fails=True,
        runbook="load-failure",
        cause="memlock_rlimit",
    ),
    Fault(
        name="missing-mount",
        summary="The agent pins a map in a directory where no BPF file system is mounted.",
        sources=evenly(1_000),
        unmounted=True,
        fails=True,
        runbook="load-failure",
        cause="pin_path_or_bpffs",
        remedy="mount-bpffs",
    ),
    *(
        Fault(
            name=f"bad-{name}",
            summary=summary,
            settings={"practice.bad_program": program},
            sources=evenly(1_000),
            fails=True,
            runbook="load-failure",
            cause=cause,
        )
        for name, program, cause, summary in BAD_PROGRAMS
    ),
)
