"""Rules for what the kernel's verifier says when it rejects a program.

The phrases are the format strings of Linux ``kernel/bpf/verifier.c`` (and, where named, of
``btf.c``, ``core.c`` or clang) without their numbers; wording of 4.14 to 6.18.

Not here: reading a whole log (``bpf.verifier``).
"""

from __future__ import annotations

from bpf.explain.table import Rule

VERIFIER_C = "Linux kernel/bpf/verifier.c"

NULL = "verifier_null_check"
BOUNDS = "verifier_bounds"
TYPE = "verifier_uninit_or_type"
STACK = "verifier_stack_limit"
LOOP = "verifier_loop_or_complexity"
HELPER = "verifier_helper_not_allowed"

#: Speaks for a verifier's complaint that no row of the table knows.
UNKNOWN_COMPLAINT = Rule(
    when=(),
    speaks={TYPE: 2.2, "other": 1.6, "kernel_too_old": 1.2},
    means="The verifier complains in words that this table doesn't know.",
    source=VERIFIER_C,
)

RULES: tuple[Rule, ...] = (
    # ── null checks ──
    Rule(
        when=("invalid mem access … _or_null", "invalid mem access 'map_value_or_null'"),
        speaks={NULL: 7},
        means="A pointer that may be NULL is read or written before it was compared with NULL.",
        source=f"{VERIFIER_C}, check_mem_access",
    ),
    Rule(
        when=("type=map_value_or_null", "_or_null expected=", "type= … _or_null … expected"),
        speaks={NULL: 6},
        means="A pointer that may be NULL is handed to a helper that wants a valid one.",
        source=f"{VERIFIER_C}, check_reg_type",
    ),
    Rule(
        when=("null-check it first", "possibly null pointer passed", "must be null-checked", "maybe null"),
        speaks={NULL: 7},
        means="Arithmetic or a call with a pointer that may be NULL.",
        source=f"{VERIFIER_C}, adjust_ptr_min_max_vals and check_kfunc_args (6.x)",
    ),
    Rule(
        when=("null check", "null-check", "check for null", "missing null", "nullness"),
        speaks={NULL: 2.5},
        means="The text itself speaks of a missing NULL check.",
        source="wording of maintainers",
    ),
    # ── bounds ──
    Rule(
        when=(
            "invalid access to map value",
            "invalid access to packet",
            "invalid access to memory, mem_size",
            "offset is outside of the packet",
            "outside of the allowed memory range",
            "outside of the array range",
            "invalid access to map key",
            "invalid variable-offset",
            "invalid access to flow keys",
            "makes … pointer be out of bounds",
            "access beyond struct",
            "access beyond the end of",
            "invalid access beyond",
        ),
        speaks={BOUNDS: 6},
        means="The access may reach beyond the memory that the pointer is known to cover.",
        source=f"{VERIFIER_C}, check_mem_region_access and __check_mem_access",
    ),
    Rule(
        when=(
            "unbounded memory access",
            "min value is negative",
            "with unbounded min value is not allowed",
            "math between … pointer and",
            "unbounded variable-offset",
            "unbounded min value",
            "invalid zero-sized read",
            "invalid zero-size read",
            "make sure to bounds check",
            "use 'var &= const'",
        ),
        speaks={BOUNDS: 6},
        means="A length or an index has no proven upper or lower bound.",
        source=f"{VERIFIER_C}, check_mem_size_reg and check_reg_sane_offset",
    ),
    Rule(
        when=("invalid access_size", "access_size=", "invalid indirect access to stack", "misaligned"),
        speaks={BOUNDS: 2.5, TYPE: 1},
        means="The size of an access doesn't fit what is there.",
        source=f"{VERIFIER_C}, check_stack_range_initialized",
        unless=("invalid indirect read from stack", "@stack-over-512"),
    ),
    Rule(
        when=("bounds check", "out of bounds", "out-of-bounds"),
        speaks={BOUNDS: 1.5},
        means="The text itself speaks of bounds.",
        source="wording of maintainers",
    ),
    # ── uninitialised and wrongly typed ──
    Rule(
        when=("!read_ok",),
        speaks={TYPE: 7},
        means="A register is read that nothing was written to on this path.",
        source=f"{VERIFIER_C}, check_reg_arg",
    ),
    Rule(
        when=("invalid indirect read from stack", "invalid read from stack"),
        speaks={TYPE: 6},
        means="Stack bytes are handed on or read that were never written, often padding of a struct.",
        source=f"{VERIFIER_C}, check_stack_read and check_stack_range_initialized",
        unless=("@stack-over-512",),
    ),
    Rule(
        when=("invalid mem access … inv|scalar|imm|unknown|fp",),
        speaks={TYPE: 6},
        means="A plain number is used as a pointer: kernel memory needs bpf_probe_read or CO-RE reads.",
        source=f"{VERIFIER_C}, check_mem_access",
    ),
    Rule(
        when=("invalid mem access '",),
        speaks={TYPE: 3},
        means="Memory is accessed through a register of the wrong type.",
        source=f"{VERIFIER_C}, check_mem_access",
        unless=("invalid mem access … _or_null",),
    ),
    Rule(
        when=(" type= … expected=", "type= … expected=", "type=inv expected", "type=scalar expected"),
        speaks={TYPE: 5},
        means="A helper is handed a register of another type than it takes.",
        source=f"{VERIFIER_C}, check_reg_type",
        unless=("_or_null",),
    ),
    Rule(
        when=("invalid bpf_context access", "dereference of modified ctx ptr", "invalid ctx access"),
        speaks={TYPE: 5, "kernel_too_old": 0.8},
        means="A field of the context is read at an offset or size that this program type doesn't allow.",
        source=f"{VERIFIER_C}, check_ctx_access",
    ),
    Rule(
        when=(
            "unreleased reference",
            "reference has not been acquired",
            "at program exit the register",
            "should have been in",
            "pointer arithmetic on … prohibited",
            "cannot pass map_type",
            "same insn cannot be used with different pointers",
            "frame pointer is read only",
            "must be a known constant",
            "is not a const string",
            "must be referenced",
            "must have zero offset",
            "arg#",
            "caller passes invalid args",
            "expected pointer to",
            "unknown opcode",
            "partial copy of pointer",
            "type mismatch",
            "corrupted spill",
            "unreachable insn",
            "invalid size of register",
            "untrusted_ptr",
            "is not a known value",
            "invalid argument type",
            "tries to write to read-only|write into map forbidden|cannot write into",
        ),
        speaks={TYPE: 4},
        means="A value of the wrong type, or one that was not set or released, is used.",
        source=VERIFIER_C,
    ),
    Rule(
        when=("uninitialized", "uninitialised", "was never written", "not initialized … stack"),
        speaks={TYPE: 2.5},
        means="The text itself speaks of uninitialised data.",
        source="wording of maintainers",
    ),
    Rule(
        when=(
            "jump out of range|last insn is not an exit|only read from|only write to|unsupported reg type",
            "misaligned access|misaligned stack|misaligned packet|expected uninitialized",
            "expected an initialized",
            "cannot pass in|cannot write into|read-only|bpf_spin_lock|unlock is missing|lock is held",
            "doesn't return scalar|should be called exactly|must be a rcu pointer|is not a pointer to",
            "invalid insn|invalid bpf_ld_imm64|bpf_ld_imm64|reserved field|unrecognized arg#",
            "doesn't have … argument",
            "dereference|deref of",
        ),
        speaks={TYPE: 3, "other": 0.8},
        means="A rarer complaint about what the program does with its values or its flow.",
        source=VERIFIER_C,
        needs=("verifier|insns|prog load log|bpf_prog_load|load program|failed to load|insn ",),
    ),
    Rule(
        when=(
            "number of funcs in func_info|func_info|line_info|invalid name|type_id=|btf load error",
            "tail call map owned|owned by prog type|map owned by",
            "failed to guess program type|unrecognized elf section|missing program section|no program found",
            "doesn't contain any bpf program|unsatisfied program reference|skeleton version",
        ),
        speaks={"other": 3},
        means=(
            "The object itself is at odds with its loader or with how it is used: a build or version fault."
        ),
        source="libbpf src/libbpf.c; Linux kernel/bpf/core.c, bpf_prog_map_compatible",
    ),
    # ── messages that only the unprivileged see ──
    Rule(
        when=("attempt to corrupt spilled pointer",),
        speaks={"missing_capability": 4.5, TYPE: 3},
        means=(
            "This check is only made without CAP_PERFMON (CAP_SYS_ADMIN before 5.8): privileged loaders "
            "never see it."
        ),
        source=f"{VERIFIER_C}, allow_ptr_leaks; PowerDNS/pdns#14279",
    ),
    Rule(
        when=(
            "prohibited for !root",
            "for !root",
            "function calls to other bpf functions are allowed for",
            "leaks addr",
            "pointer comparison prohibited",
            "loading/calling other bpf or kernel functions are allowed for",
            "allowed for cap_bpf and cap_sys_admin",
            "allowed for root only",
        ),
        speaks={"missing_capability": 4, TYPE: 3},
        means="This check is only made without CAP_BPF and CAP_PERFMON (CAP_SYS_ADMIN before 5.8).",
        source=f"{VERIFIER_C}, allow_ptr_leaks and bpf_capable",
    ),
    # ── stack ──
    Rule(
        when=(
            "combined stack size",
            "bpf stack limit",
            "stack limit of 512",
            "stack frame … exceed",
            "@stack-over-512",
            "call stack of … frames is too deep",
            "tail_calls are not allowed when call stack",
            "exceeds the stack limit",
            "exceeds bpf stack",
            "stack size … too large",
            "512 bytes … stack",
            "stack … 512 byte",
            "stack depth … exceed",
        ),
        speaks={STACK: 7},
        means=(
            "A BPF program has 512 bytes of stack, all its nested functions together (256 with tail calls)."
        ),
        source=f"{VERIFIER_C}, check_max_stack_depth; LLVM BPFRegisterInfo.cpp",
    ),
    Rule(
        when=("stack limit", "stack size", "too much stack", "on-stack", "stack variables"),
        speaks={STACK: 2},
        means="The text itself speaks of the stack's size.",
        source="wording of maintainers",
    ),
    # ── loops and complexity ──
    Rule(
        when=(
            "bpf program is too large",
            "bpf program is too complex",
            "back-edge from insn",
            "infinite loop detected",
            "sequence of … jumps is too complex",
            "program too large",
            "too many instructions",
            "loop not unrolled",
            "too many states",
            "exceeds … instruction limit",
            "instructions … exceed|exceeded|over … limit",
            "at most 4096 insns|over limit)",
            "processed 1000001 insns",
            "processed 131073 insns",
            "program is too large",
            "program too complex",
            "too complex … verifier",
            "verifier … too complex",
            "complexity limit",
            "instruction limit of|instruction limit is|the instruction limit|instruction limit exceed",
            "million instructions|1m instructions|1000000 insn",
            "potentially unbounded loop|unbounded loop",
            "too many subprogs|too many subprograms",
        ),
        speaks={LOOP: 6},
        means="The verifier gave up: a loop without a proven end, or more paths than its budget "
        "(4,096 instructions before 5.2 or without rights, else a million).",
        source=f"{VERIFIER_C}, BPF_COMPLEXITY_LIMIT_INSNS",
    ),
    Rule(
        when=("argument list too long|e2big|err=-7|error -7|errno=7|errno 7",),
        speaks={LOOP: 2.5, "map_create_failed": 0.5, "map_full": 0.5},
        means="E2BIG on loading a program: too many instructions, or the verifier's budget is used up.",
        source="Linux kernel/bpf/syscall.c, bpf_prog_load",
        needs=(
            "load program|program load|prog_load|bpf_prog_load|loading program|load bpf|load failed|verifier",
        ),
    ),
    Rule(
        when=("backedge|back-edge|back edge", "unroll", "bounded loop", "complexity", "prove termination"),
        speaks={LOOP: 2},
        means="The text itself speaks of loops or complexity.",
        source="wording of maintainers",
    ),
    # ── helpers ──
    Rule(
        when=(
            "program of this type cannot use helper",
            "helper call is not allowed in probe",
            "helper call might sleep in a non-sleepable",
            "sleepable helper",
            "cannot use helper",
            "calling kernel function … is not allowed",
            "helper … not allowed",
            "helper call is not allowed",
        ),
        speaks={HELPER: 5, "lockdown_or_lsm": 0.7, "missing_kernel_config": 0.5},
        means="This kernel doesn't offer the helper to this type of program, in this context.",
        source=f"{VERIFIER_C}, check_helper_call",
    ),
    Rule(
        when=("unknown func bpf_", "unknown func ", "invalid func unknown#", "invalid func "),
        speaks={HELPER: 4.5, "kernel_too_old": 1.5},
        means="The helper doesn't exist in this kernel, or not for this type of program.",
        source=f"{VERIFIER_C}, check_helper_call",
        unless=("unknown#", "bad2310"),
    ),
    Rule(
        when=("call unknown#|invalid func unknown#|unknown func unknown#",),
        speaks={"kernel_too_old": 5.5, HELPER: 3},
        means="The kernel doesn't even know that helper's number: it came with a later kernel.",
        source=f"{VERIFIER_C}, check_helper_call",
        unless=("195896080",),
    ),
    Rule(
        when=("@helper-newer-than-kernel",),
        speaks={"kernel_too_old": 4.5},
        means="The helper came with a later kernel than the one in the text.",
        source="Linux include/uapi/linux/bpf.h, history",
    ),
    Rule(
        when=("unknown#195896080", "#195896080", "bad2310"),
        speaks={"core_relocation_failed": 6, "arch_mismatch": 1.5},
        means=(
            "libbpf put this number where a CO-RE relocation found no match: the field or type isn't in "
            "this kernel."
        ),
        source="libbpf src/relo_core.c, bpf_core_poison_insn",
    ),
    # ── licence ──
    Rule(
        when=(
            "gpl-restricted",
            "gpl restricted",
            "cannot call gpl",
            "gpl only|gpl-only|non-gpl|gpl compatible|gpl-compatible|must be gpl|must have a gpl|not gpl",
            "isn't gpl",
        ),
        speaks={"license_gpl": 6},
        means="The program's licence string isn't GPL-compatible, and it calls something that is GPL-only.",
        source=f"{VERIFIER_C}, check_helper_call; Linux kernel/bpf/syscall.c, bpf_prog_load",
    ),
    Rule(
        when=('license section|sec("license")|_license[]', "missing license|no license|invalid license"),
        speaks={"license_gpl": 4},
        means="The object's licence section is missing or wrong.",
        source="Linux Documentation/bpf/bpf_licensing.rst",
    ),
)
