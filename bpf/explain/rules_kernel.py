"""Rules for what the kernel, its build or its mounts lack: targets, types, options, trace files, age.

Not here: maps and pins (``rules_objects``), rights (``rules_rights``), the verifier (``rules_verifier``).
"""

from __future__ import annotations

from bpf.explain.table import Rule

TARGET = "attach_target_missing"
BTF = "btf_missing"
CORE = "core_relocation_failed"
CONFIG = "missing_kernel_config"
OLD = "kernel_too_old"
ARCH = "arch_mismatch"
TRACEFS = "tracefs_debugfs_not_mounted"
CREATE = "map_create_failed"

#: What "there is no such thing" is called.
ENOENT = (
    "no such file or directory|enoent|not found|does not exist|doesn't exist|file does not exist|cannot find"
)

RULES: tuple[Rule, ...] = (
    # ── attach targets ──
    Rule(
        when=(
            f"kprobe … {ENOENT}",
            f"kretprobe … {ENOENT}",
            f"fentry|fexit … {ENOENT}",
            f"symbol … {ENOENT}",
            "probe entry may not exist",
            "failed to find kernel btf type id of",
            "could not find … tracepoint",
            "unable to find symbol|no such symbol|unknown symbol|symbol not found|could not resolve symbol",
            "write(kprobe_events): no such file",
            "is not traceable|not attachable|non-traceable|available_filter_functions|notrace function",
            "set attach target … no such process|failed",
            f"uprobe … {ENOENT}",
            f"attach target … {ENOENT}",
            "attach_btf_id",
            "btf_id … not found",
            "failed to determine … perf type",
            "could not find function|no function|no matching function",
            "function … not found",
            "is not a kernel function|not a valid kernel function",
            "kernel function … not exist",
        ),
        speaks={TARGET: 4.5},
        means=(
            "The function, tracepoint or symbol to attach to isn't in this kernel or binary: renamed, "
            "inlined or not built."
        ),
        source="libbpf src/libbpf.c, bpf_program__attach_kprobe_opts; Linux kernel/kprobes.c",
    ),
    Rule(
        when=(
            f"tracepoint … {ENOENT}",
            "tracepoint|kprobe|uprobe … errno: 2|errno 2|errno=2|error: -2|(-2)|os error 2",
        ),
        speaks={TARGET: 4, ARCH: 0.7},
        means="ENOENT: there is no such tracepoint, function or symbol here.",
        source="libbpf src/libbpf.c, bpf_program__attach_tracepoint",
        unless=("syscalls/sys_e", "syscalls:sys_e"),
    ),
    Rule(
        when=(
            "failed to attach|cannot attach|could not attach|can't attach … probe|tracepoint|fentry|uprobe",
            "unable to attach … probe|tracepoint|fentry|uprobe",
        ),
        speaks={TARGET: 2.5},
        means="It failed when the program was attached, after it had loaded.",
        source="libbpf src/libbpf.c; bcc src/cc/libbpf.c",
    ),
    Rule(
        when=(
            ".isra.|.constprop.|.part.",
            "inlined|renamed|was removed|got removed",
            "/proc/kallsyms|kallsyms",
        ),
        speaks={TARGET: 2},
        means="The compiler or a newer kernel gave the function another name, or dissolved it.",
        source="Linux Documentation/trace/kprobes.rst",
    ),
    Rule(
        when=(f"events/syscalls/ … {ENOENT}", "ftrace_syscalls"),
        speaks={CONFIG: 4, TARGET: 2},
        means="Without CONFIG_FTRACE_SYSCALLS there are no syscall tracepoints.",
        source="Linux kernel/trace/Kconfig",
    ),
    # ── tracefs ──
    Rule(
        when=(
            "mount debugfs|mount tracefs|mount -t debugfs|mount -t tracefs",
            "debugfs … not mounted",
            "tracefs … not mounted",
            "neither debugfs nor tracefs|tracefs nor debugfs|debugfs or tracefs",
            "@no-tracefs",
            f"kprobe_events|uprobe_events … {ENOENT}",
            "read_available_filter|open available_filter|read available_filter",
            f"available_filter … {ENOENT}",
            "is debugfs mounted|is tracefs mounted|debugfs is not|tracefs is not|debugfs isn't|tracefs isn't",
            "unable to mount … debugfs",
            "unable to mount … tracefs",
        ),
        speaks={TRACEFS: 6, CONFIG: 1.5, TARGET: -1},
        means="The trace file system isn't mounted where the agent runs (containers often lack it).",
        source="Linux Documentation/trace/ftrace.rst",
    ),
    Rule(
        when=("@no-event",),
        speaks={TARGET: 4, TRACEFS: -1},
        means="One event's directory is missing: the kernel has no such tracepoint, or nothing is mounted.",
        source="Linux Documentation/trace/events.rst",
    ),
    Rule(
        when=(
            "failed to determine|failed to open … syscalls/sys_enter_|syscalls/sys_exit_|syscalls:sys_e",
            "no such|cannot find|not found … syscalls/sys_enter_|syscalls/sys_exit_|syscalls:sys_e",
            f"syscalls/sys_e|syscalls:sys_e … {ENOENT}",
        ),
        speaks={TRACEFS: 5, CONFIG: 2.5, TARGET: 1},
        means=(
            "System calls' tracepoints exist on every usual kernel: rather tracefs isn't reachable, or "
            "CONFIG_FTRACE_SYSCALLS is off."
        ),
        source="Linux kernel/trace/Kconfig; aquasecurity/tracee#4026",
    ),
    Rule(
        when=("debugfs|tracefs|/sys/kernel/debug|/sys/kernel/tracing",),
        speaks={TRACEFS: 2},
        means="The trace file system is named.",
        source="Linux Documentation/trace/ftrace.rst",
    ),
    # ── BTF ──
    Rule(
        when=(
            "failed to find valid kernel btf|could not find valid kernel btf|no valid kernel btf",
            "load kernel btf|get kernel btf|find vmlinux btf|loading vmlinux btf|load vmlinux btf",
            "@no-kernel-btf",
            "btf from vmlinux|btf elf section in vmlinux",
            "'.btf' elf section in vmlinux",
            "kernel btf is missing|missing kernel btf|missing btf|no kernel btf|no btf found",
            "without btf support",
            "kernel without btf|no btf for|lacks btf|has no btf|not have btf|btf missing|btf file not found",
            f"kernel btf … {ENOENT}",
            f"/sys/kernel/btf … {ENOENT}",
            "btf is required|requires btf|needs btf|need btf|btf support|btf is not|btf not",
            "btf: not supported",
            "work without btf|available without btf|without kernel btf",
            "failed to validate … btf",
            "load btf for kmod",
            "btf … unavailable|not available|is missing",
            "vmlinux … not found|not available",
            "btfhub|btf-custom-path|custom btf|external btf",
            "debug_info_btf",
        ),
        speaks={BTF: 5.5, CONFIG: 0.8, CORE: -3},
        means="The kernel doesn't describe its types (/sys/kernel/btf/vmlinux): CO-RE and fentry need it.",
        source="libbpf src/btf.c, btf__load_vmlinux_btf; CONFIG_DEBUG_INFO_BTF",
    ),
    Rule(
        when=(
            "btf … invalid argument|einval|malformed|corrupt|failed|error",
            "invalid btf",
        ),
        speaks={BTF: 2.5},
        means="Type information can't be read or isn't taken by the kernel.",
        source="Linux kernel/bpf/btf.c, btf_parse",
        unless=("without btf", "btf type id", "btf id"),
    ),
    # ── CO-RE ──
    Rule(
        when=("co-re relocation|core relocation|core_relo|core relo|co-re relo",),
        speaks={CORE: 3.5},
        means="It failed while the program was fitted to this kernel's structs.",
        source="libbpf src/relo_core.c; cilium/ebpf btf/core.go",
    ),
    Rule(
        when=(
            "failed to resolve|failed to relocate … relo",
            "relo # … failed",
            "candidate search failed|poisoned by co-re",
            "bad relocation|bad co-re|invalid co-re|invalid core",
            "failed to resolve co-re|co-re … type not found|field … not found",
            "call unknown#195896080",
        ),
        speaks={CORE: 4.5},
        means="A struct field or type that the program was compiled with isn't in this kernel's BTF.",
        source="libbpf src/relo_core.c; cilium/ebpf btf/core.go",
    ),
    Rule(
        when=("no matching targets|no matching target|no candidates", "substituting insn … invalid insn"),
        speaks={CORE: 3.5},
        means=(
            "A relocation found no match; alone it does no harm, a program may guard it with "
            "bpf_core_field_exists."
        ),
        source="libbpf src/relo_core.c, bpf_core_apply_relo_insn",
    ),
    Rule(
        when=(
            "no member named … in 'struct",
            "no member named",
            "has no member",
            "incomplete definition of type",
        ),
        speaks={CORE: 3.5, CONFIG: 0.5},
        means="A struct of this kernel lacks a field that the source names.",
        source="bcc: programs compiled on the host; clang diagnostics",
    ),
    # ── kernel configuration ──
    Rule(
        when=(
            "config_ … not set",
            "config_ … is disabled",
            "config_ … disabled",
            "config_ … =n",
            "config_ … missing",
            "config_ … required",
            "config_ … not enabled",
            "requires config_|without config_|need config_|needs config_|enable config_",
            "compiled with config_|built with config_",
            "missing … config_",
            "only config_have_|only see config_|find only config_|only has config_",
            "kernel config|kernel configuration|kernel option|kconfig",
            "unable to find kernel headers|kernel headers|kheaders|ikheaders|linux-headers|kernel-headers",
            "kernel-devel",
            "not compiled into|not built into|not compiled with|kernel not built",
        ),
        speaks={CONFIG: 4},
        means="The kernel was built without an option that the agent needs (or without its headers for bcc).",
        source="Linux kernel/bpf/Kconfig, kernel/trace/Kconfig; bcc INSTALL.md",
    ),
    Rule(
        when=(
            f"/lib/modules … {ENOENT}",
            "/lib/modules … bind mount|not include|missing",
            "bind mount … /usr/src|/lib/modules",
            "kconfig.h|asm/types.h|linux/types.h … not found",
            "fatal error: … file not found",
            "unable to initialize bcc|kernel source|linux source|non-core ebpf object",
        ),
        speaks={CONFIG: 4},
        means="The kernel's headers are missing, from which the program is compiled on the host.",
        source="bcc INSTALL.md; aquasecurity/tracee#1980",
    ),
    Rule(
        when=(
            "clsact|qdisc … no such file or directory|not found|unknown|not supported|enoent",
            "unknown qdisc|unknown filter|specified qdisc|qdisc kind is unknown",
        ),
        speaks={CONFIG: 4.8},
        means="tc programs need the clsact queue (CONFIG_NET_SCH_INGRESS) and cls_bpf (CONFIG_NET_CLS_BPF).",
        source="Linux net/sched/sch_ingress.c; daeuniverse/dae#7, cilium/cilium#16284",
        fix="modprobe sch_ingress cls_bpf, or a kernel built with them",
    ),
    Rule(
        when=(
            "fentry|fexit|fmod_ret|trampoline|kfunc|lsm … not supported|unsupported|not true",
            "fentry|fexit|fmod_ret|trampoline|kfunc|lsm … is not available",
        ),
        speaks={CONFIG: 4, OLD: 2, ARCH: 0.8},
        means=(
            "This kernel doesn't offer that kind of attachment: built without it (BTF, direct calls), "
            "or too old."
        ),
        source="Linux kernel/bpf/trampoline.c",
        unless=("no btf found", "kernel function"),
    ),
    Rule(
        when=(
            "program type|attach type|map type … not supported",
            "program type is not|extern (func ksym) … not found",
        ),
        speaks={OLD: 3},
        means="A kind of program, map or function that this kernel doesn't have yet.",
        source="libbpf src/libbpf_probes.c",
    ),
    Rule(
        when=(f"kprobes/blacklist … {ENOENT}", f"{ENOENT} … kprobes/blacklist"),
        speaks={OLD: 4, TRACEFS: -3},
        means="The list of forbidden probes is missing though its directory is there: a back-ported kernel.",
        source="bcc src/python/bcc/__init__.py; iovisor/bcc#2413",
    ),
    Rule(
        when=("kprobe_events|uprobe_events … file exists|device or resource busy",),
        speaks={"other": 4.5, TARGET: -2, TRACEFS: -3},
        means="A probe of this name is registered already, by another process or one that was killed.",
        source="Linux kernel/trace/trace_kprobe.c; aws/aws-ebpf-sdk-go#47",
        fix="clear what is left in kprobe_events when nobody uses it; give the probe a name of its own",
    ),
    Rule(
        when=("config_",),
        speaks={CONFIG: 1.5},
        means="A build option of the kernel is named.",
        source="Linux Kconfig",
        unless=("couldn't load trivial bpf",),
    ),
    Rule(
        when=("function not implemented|enosys",),
        speaks={CONFIG: 4, OLD: 1.5, "seccomp_or_container_policy": 0.5},
        means="ENOSYS: the kernel has no bpf() call, or a filter pretends so.",
        source="Linux kernel/sys_ni.c",
    ),
    Rule(
        when=("524|enotsupp",),
        speaks={CONFIG: 2.5, ARCH: 1.5, "other": 0.5},
        means=(
            "ENOTSUPP (524): no trampoline for fentry on this architecture or build, or no JIT memory left."
        ),
        source="Linux kernel/bpf/trampoline.c; kxxt/tracexec#173",
        needs=("enotsupp|error 524|errno 524|err=-524|-524|unknown error 524|(524)",),
    ),
    # ── kernel too old ──
    Rule(
        when=(
            "kernel is too old|old kernel|older kernel|outdated kernel",
            "kernel … too old",
            "requires kernel|requires linux|require kernel|needs kernel|requires at least|minimum kernel",
            "min kernel|kernel >= |kernel>=|requires >= v",
            "kernel version … required",
            "unsupported kernel|not supported on this kernel|kernel doesn't support|kernel does not support",
            "kernel … not supported",
            "kernel version … unsupported",
            "not supported by … kernel",
            "newer kernel",
            "linux kernel … or newer",
            "kernel … or later",
            "kernel … or higher",
            "kernel … and above",
            "upgrade … kernel",
            "update … kernel",
            "introduced in linux|added in linux|added in kernel|available since|only available in",
            "since linux|since kernel",
            "introduced in … kernel",
            "unknown map type|unsupported map type|unknown program type|invalid map type",
            "map type … not supported",
            "program type … not supported",
        ),
        speaks={OLD: 4},
        means="The kernel is older than what the agent uses.",
        source="bcc docs/kernel-versions.md",
        unless=("no btf found", "no btf for"),
    ),
    Rule(
        when=("kernel unsupported|unsupported by kernel|kernel not supported",),
        speaks={OLD: 2.5, CONFIG: 1.2, "missing_capability": 2},
        means="The agent's own words; it may have met a missing right as well.",
        source="domcyrus/rustnet#255",
    ),
    Rule(
        when=("@kernel<4.14",),
        speaks={OLD: 3.5},
        means="The text shows a kernel before 4.14.",
        source="bcc docs/kernel-versions.md",
    ),
    Rule(
        when=("@kernel<5.4",),
        speaks={OLD: 1.5},
        means="The text shows a kernel before 5.4.",
        source="bcc docs/kernel-versions.md",
    ),
    Rule(
        when=("ringbuf|ring_buf|ring buffer|ringbuffer",),
        speaks={OLD: 2.5, CREATE: 1, ARCH: 0.7},
        means=(
            "EINVAL on a ring buffer: no such map type before 5.8, or a size that is no power-of-two "
            "number of pages."
        ),
        source="Linux kernel/bpf/ringbuf.c, ringbuf_map_alloc; gojue/ehids-agent#2, cilium/tetragon#5026",
        needs=("invalid argument|einval|errno=22|error -22|err=-22|os error 22",),
        unless=("lost|dropped|drops", "not a multiple", "must be a power"),
    ),
    Rule(
        when=("@kernel<5.8",),
        speaks={OLD: 3},
        means="A ring buffer on a kernel before 5.8.",
        source="Linux kernel/bpf/ringbuf.c (5.8)",
        needs=("ringbuf|ring_buf|ring buffer",),
    ),
)
