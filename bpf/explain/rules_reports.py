"""Rules for the verifier's rarer complaints, and for the report that kernels from 7.x on put behind them.

The report's heading names a class, its sentences the reason; the classic complaint stands above it.

Not here: the common complaints (``rules_verifier``).
"""

from __future__ import annotations

from bpf.explain.rules_verifier import BOUNDS, HELPER, LOOP, NULL, STACK, TYPE, VERIFIER_C
from bpf.explain.table import Rule

DIAGNOSTICS_C = "Linux kernel/bpf/diagnostics.c (7.x)"

#: Rows on complaints; of a log only the last of them counts whole.
RULES: tuple[Rule, ...] = (
    Rule(
        when=(
            "is expected to be non-null",
            "has to be checked for null|pointer passed to trusted",
            "null pointer passed",
        ),
        speaks={NULL: 6},
        means="A call wants a pointer that was compared with NULL.",
        source=f"{VERIFIER_C}, check_kfunc_args (6.x)",
    ),
    Rule(
        when=(
            "max value is outside|min value is outside",
            "invalid negative access|invalid variable offset|invalid variable buffer offset",
            "invalid rdonly|invalid rdwr",
            "invalid … buffer access",
            "beyond pointer bounds|smaller buffer|bigger than",
            "memory, len pair leads to invalid memory access",
            "is out of bounds|outside of the map|exceeds maximum|out of range, prohibited",
            "offset is outside|var-offset",
            "var_off … not allowed",
            "unknown scalar with mixed signed bounds|value is outside",
            "constant to packet pointer|integer to packet pointer|offset to packet pointer",
            "no range",
            "invalid size … access",
        ),
        speaks={BOUNDS: 4},
        means="Offset and size of an access aren't proven to stay within the memory.",
        source=f"{VERIFIER_C}, check_buffer_access and check_stack_access_within_bounds",
        needs=("r0|r1|r2|r3|r4|r5|r6|r7|r8|r9|arg#|verifier|insn",),
    ),
    Rule(
        when=(
            "expects pointer to|expected pointer",
            "has type … expected",
            "is of type … but",
            "cannot access|cannot overwrite|cannot release|cannot spill|cannot restore|cannot be accessed",
            "doesn't point to|does not point to|isn't map pointer|must point to",
            "expected an initialized|has to be an uninitialized|expected valid iter|expected uninitialized",
            "is not a known constant|not a constant|is not a scalar|not a scalar value|is not a const",
            "subtraction from stack pointer|pointer arithmetic",
            "bitwise operator … prohibited",
            "can only take|owning ref|kptr|dynptr|refcount|must be held|must be paired",
            "could not be pushed for speculative|unsupported alu operation",
            "jump into the middle|not an exit or jmp|is not reachable|last instruction|uses reserved fields",
            "invalid bpf_alu|invalid bpf_jmp|invalid bpf_ld|unknown opcode|invalid insn idx",
            "write to change key|negative offset",
            "without releasing|not released",
            "lock … not",
            "unlock … without",
        ),
        speaks={TYPE: 2.8},
        means="A value of another type, or in another state, than the instruction or the call wants.",
        source=VERIFIER_C,
        needs=("insns|verifier|prog load log|load program|bpf_prog_load|r0 |r1 |r2 |r3 |r6 |arg#",),
    ),
    Rule(
        when=(
            "cannot be used inside|might sleep|program must be sleepable",
            "kfunc … not allowed",
            "jit does not support calling|cannot be called from|only supported in",
            "kfuncs … require",
            "instructions not allowed for this program type|progs cannot use",
            "is not allowed in subprogs|not allowed for this program|attach point|is only allowed in",
            "helper access to the packet is not allowed|this program type",
            "only fentry/fexit|can't modify return|non-sleepable",
        ),
        speaks={HELPER: 3.5},
        means="The call isn't offered to this type of program, or not at this place in it.",
        source=f"{VERIFIER_C}, check_helper_call and check_kfunc_call",
        needs=("insns|verifier|prog load log|load program|bpf_prog_load|call |helper|kfunc",),
        unless=("cannot use helper",),
    ),
    Rule(
        when=(
            "exceeded complexity limit|iteration limit reached|too complex|recursive call|call graph",
            "too many subprog|branches back|too many loops|loop is not bounded",
            "call stack … too deep",
            "not bounded|never terminate|large program|instruction count|insn count",
            "loop … unbounded",
            "verifier budget|1m insn|million insn",
            "instructions … exceed",
            "maximum limit … instruction",
        ),
        speaks={LOOP: 4},
        means="The verifier's budget or a limit of the program's shape is reached.",
        source=f"{VERIFIER_C}, do_check and check_cfg",
    ),
    Rule(
        when=(
            "verifier bug|verifier internal error",
            "bpf_verifier … warning",
        ),
        speaks={"other": 6},
        means="The verifier itself is at fault: it says so.",
        source=f"{VERIFIER_C}, verifier_bug",
        fix="a kernel in which it is mended; report it to the kernel's BPF list",
    ),
    Rule(
        when=(
            "required to use arena|cap_sys_boot|without the privilege|in unprivileged programs",
            "cap_perfmon are required|for cap_bpf|with cap_perfmon|required capability",
            "prohibited for !root|speculative",
        ),
        speaks={"missing_capability": 3.5},
        means="The verifier is stricter with those who lack CAP_BPF or CAP_PERFMON.",
        source=f"{VERIFIER_C}, bpf_capable and perfmon_capable",
        needs=("insns|verifier|prog load log|load program|bpf_prog_load|unprivileged",),
    ),
    Rule(
        when=(
            "invalid kfunc call",
            "not resolved",
            "kfunc … referenced but wasn't resolved",
            "extern (func ksym) … not found|incompatible",
            "extern (var ksym) … not found",
            "calling invalid kernel function|kernel function btf id|kernel btf func",
            "struct_ops init_kern … not found|cannot find",
            "unknown kfunc|no such kfunc|missing kfunc",
            "kfunc … not found",
        ),
        speaks={"kernel_too_old": 5, "missing_kernel_config": 1.5, "core_relocation_failed": 0.5},
        means="A kernel function, or a kind of program built on one, that this kernel doesn't have (yet).",
        source="libbpf src/libbpf.c, bpf_object__resolve_ksym_func_btf_id; sched-ext/scx#2947",
    ),
)

#: Rows on the report; they count whole wherever they stand.
REPORT: tuple[Rule, ...] = (
    Rule(
        when=("may be null here", "dereference null on this", "add a null check|a null check precedes"),
        speaks={NULL: 6},
        means="The report says that the pointer may be NULL.",
        source=DIAGNOSTICS_C,
    ),
    Rule(
        when=("verification failed: memory safety", "cannot prove offset + access_size"),
        speaks={BOUNDS: 5},
        means="The report says that the access may be outside the object.",
        source=DIAGNOSTICS_C,
        unless=("initialize every byte", "stack limit", "@stack-over-512"),
    ),
    Rule(
        when=(
            "has never been initialized on this path|is not readable here|is uninitialized on this path",
            "verification failed: … register type|call type|resource lifetime|program structure",
            "initialize every byte",
        ),
        speaks={TYPE: 4},
        means="The report says that a value is not set, of the wrong type, or not released.",
        source=DIAGNOSTICS_C,
        unless=("may be null here", "back-edge", "acyclic call graph", "may be null"),
    ),
    Rule(
        when=(
            "verification failed: … policy|execution context",
            "use a helper allowed for this program type|use a kfunc allowed",
        ),
        speaks={HELPER: 4},
        means="The report says that the operation isn't allowed here.",
        source=DIAGNOSTICS_C,
        unless=("gpl-compatible",),
    ),
    Rule(
        when=("without the privilege needed|load the program with cap_|load this program with the required",),
        speaks={"missing_capability": 6},
        means="The report says that a capability would allow it.",
        source=DIAGNOSTICS_C,
        unless=("or load with cap_perfmon if",),
    ),
    Rule(
        when=("acyclic call graph|explicit bounded loop|branches back to instruction",),
        speaks={LOOP: 5},
        means="The report says that a loop or recursion isn't bounded.",
        source=DIAGNOSTICS_C,
    ),
    Rule(
        when=("verification failed: … stack",),
        speaks={STACK: 2.5},
        means="The report is about the stack.",
        source=DIAGNOSTICS_C,
    ),
)
