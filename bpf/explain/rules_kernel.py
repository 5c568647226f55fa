"""Rules for what the kernel, its build or its mounts lack: targets, types, options, file systems, maps.

Not here: rights (``rules_rights``), the verifier (``rules_verifier``).
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
PIN = "pin_path_or_bpffs"
CREATE = "map_create_failed"
LIMIT = "kprobe_attach_limit"

_ENOENT = (
    "no such file or directory|enoent|not found|does not exist|doesn't exist|file does not exist|cannot find"
)

RULES: tuple[Rule, ...] = (
    # ── attach targets ──
    Rule(
        when=(
            f"kprobe … {_ENOENT}",
            f"kretprobe … {_ENOENT}",
            f"fentry|fexit … {_ENOENT}",
            f"symbol … {_ENOENT}",
            "probe entry may not exist",
            "failed to find kernel btf type id of",
            "could not find … tracepoint",
            "unable to find symbol|no such symbol|unknown symbol|symbol not found|could not resolve symbol",
            "write(kprobe_events): no such file",
            "is not traceable|not attachable|non-traceable|available_filter_functions|notrace function",
            "set attach target … no such process|failed",
            f"uprobe … {_ENOENT}",
            f"attach target … {_ENOENT}",
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
            f"tracepoint … {_ENOENT}",
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
        when=(f"events/syscalls/ … {_ENOENT}", "ftrace_syscalls"),
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
            f"kprobe_events|uprobe_events … {_ENOENT}",
            "is debugfs mounted|is tracefs mounted|debugfs is not|tracefs is not|debugfs isn't|tracefs isn't",
            "unable to mount … debugfs",
            "unable to mount … tracefs",
        ),
        speaks={TRACEFS: 6, TARGET: -1},
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
            f"syscalls/sys_e|syscalls:sys_e … {_ENOENT}",
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
            "kernel btf is missing|missing kernel btf|missing btf|no kernel btf|no btf found",
            "without btf support",
            "kernel without btf|no btf for|lacks btf|has no btf|not have btf|btf missing|btf file not found",
            f"kernel btf … {_ENOENT}",
            f"/sys/kernel/btf … {_ENOENT}",
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
            f"/lib/modules … {_ENOENT}",
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
        when=(f"kprobes/blacklist … {_ENOENT}", f"{_ENOENT} … kprobes/blacklist"),
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
    # ── architecture ──
    Rule(
        when=(
            "exec format error|cannot execute binary|wrong elf class|unsupported architecture",
            "unsupported arch|invalid elf machine",
            "architecture … not supported",
            "page size|pagesize|page_size|16k page|64k page|16kb page|64kb page|16 kib page|64 kib page",
            "big-endian|big endian|little endian|endianness|byte order",
            "missing symbol|undeclared … pt_regs",
            "target arch|target_arch|wrong architecture|different architecture|architecture mismatch",
        ),
        speaks={ARCH: 4.5},
        means="It was built for another architecture, byte order or page size.",
        source="Linux kernel/bpf/ringbuf.c (PAGE_ALIGNED); cilium/tetragon#5026, cilium/ebpf#1867",
    ),
    Rule(
        when=(
            "arm64|aarch64|armv7|s390x|ppc64|riscv|raspberry|apple silicon|graviton|mips|i386|i686|32-bit",
            "loongarch",
        ),
        speaks={ARCH: 2},
        means="The machine isn't the x86-64 on which most agents are tried.",
        source="kxxt/tracexec#173",
    ),
    # ── pins ──
    Rule(
        when=(
            "failed to pin|pin map|pinning|unable to pin|cannot pin|can't pin|could not pin|pin program",
            "obj_pin|bpf_obj_pin|pin path|pin object",
            "pinned map|pinned object|obj_get|bpf_obj_get|reuse pinned|load pinned|open pinned|pinned",
            f"/sys/fs/bpf … {_ENOENT}|read-only|permission denied|not mounted|not permitted",
            "bpffs|bpf filesystem|bpf file system|bpf fs |not on a bpf filesystem|bpf_fs",
            "parameter mismatch",
            "incompatible with … pinned",
            "map … incompatible",
        ),
        speaks={PIN: 4.5},
        means="A pin in the BPF file system can't be made, or an old one doesn't fit.",
        source="libbpf src/libbpf.c, bpf_object__reuse_map; Linux kernel/bpf/inode.c",
    ),
    Rule(
        when=("/sys/fs/bpf",),
        speaks={PIN: 2.5},
        means="The BPF file system is named.",
        source="Linux kernel/bpf/inode.c",
    ),
    # ── maps ──
    Rule(
        when=(
            "failed to create map|creating map|create map|map create|map_create|create bpf map",
            "bpf_create_map|bpf_map_create|couldn't create map",
            "could not create … map",
            "failed to create … map",
            "cannot create map|can't create map|map creation",
            "error creating … map",
            "map … failed to create",
        ),
        speaks={CREATE: 3},
        means="A map could not be created: its size, flags or type don't please this kernel.",
        source="Linux kernel/bpf/syscall.c, map_create",
    ),
    Rule(
        when=(
            "invalid argument|einval|os error 22",
            "argument list too long|e2big",
            "max_entries|value_size|key_size|map_flags|value size|key size",
        ),
        speaks={CREATE: 1.8},
        means="Creating the map failed over its parameters.",
        source="Linux kernel/bpf/hashtab.c, htab_map_alloc_check; loxilb-io/loxilb#661",
        needs=(
            "create map|creating map|map create|map_create|map creation|bpf_create_map",
            "create … map",
        ),
    ),
    Rule(
        when=("map … ring|events|rb … create … invalid argument|einval|(-22)",),
        speaks={OLD: 4, ARCH: 0.8},
        means="By its name the map is a ring buffer: there is no such type before 5.8.",
        source="Linux kernel/bpf/ringbuf.c (5.8); solo-io/bumblebee#56",
        unless=("not a multiple", "must be a power", "ringbuf", "ring buffer"),
    ),
    Rule(
        when=(
            "not a multiple of page size|multiple of the page size|multiple of page size",
            "must be a power of two|power of 2|power of two",
        ),
        speaks={CREATE: 4, ARCH: 2.5},
        means=(
            "The size of a ring must be a power of two and a multiple of the page size, which isn't 4 "
            "KiB everywhere."
        ),
        source="Linux kernel/bpf/ringbuf.c, ringbuf_map_alloc; cilium/tetragon#5026",
    ),
    Rule(
        when=("map create|create map|create_map|creating map|map_create … operation not permitted|eperm",),
        speaks={CREATE: -4},
        means="EPERM on creating a map is about rights, not about the map.",
        source="Linux kernel/bpf/syscall.c, map_create",
    ),
    # ── limits of attaching ──
    Rule(
        when=(
            "too many open files|emfile|enfile|ulimit -n|rlimit_nofile|limitnofile|nofile",
            "@many-probes",
            "hundreds of|thousands of|too many … kprobe|uprobe|probes|attach",
            "maxactive|max_probes|bpftrace_max_probes|exceeds the current limit|too many probes|probe limit",
            "limit … probes",
            "number of … probes",
            "kprobe … no space left",
            "kprobe … too many",
            "kprobe … limit",
            "kprobes … limit",
            "attach limit|too many programs|max number of",
            "maximum number of … kprobe",
            "too many … kprobes",
            "thousands of kprobes|multi kprobe|kprobe_multi|kprobe.multi",
            "trampoline … e2big",
        ),
        speaks={LIMIT: 4.5},
        means="A limit of attachments is reached: file descriptors, probes, or programs on one function.",
        source="Linux kernel/trace/trace_kprobe.c; bpf_prog_array (BPF_TRAMP_MAX_PROGS); man 5 limits.conf",
    ),
    # ── others ──
    Rule(
        when=(f"/sys/kernel/security … {_ENOENT}",),
        speaks={"other": 5, "lockdown_or_lsm": -4},
        means="securityfs isn't mounted where the agent runs: it can't even ask.",
        source="Linux Documentation/admin-guide/LSM; aquasecurity/tracee#1396",
        fix="mount -t securityfs securityfs /sys/kernel/security, or mount it into the container",
    ),
    Rule(
        when=("does your kernel support|does you kernel support|is … enabled in your kernel",),
        speaks={"other": 2.5, CONFIG: 1, "missing_capability": 1},
        means="The agent guesses; such a question has been wrong as often as right.",
        source="cilium/tetragon#3455, ntop/ntopng#2423",
    ),
    Rule(
        when=(
            "device or resource busy|ebusy|file exists|eexist|already exists|already attached|already loaded",
            "another program|other agent|conflict|replaced|overwrit",
            "kernel panic|oops|soft lockup|hung task|general protection fault|null pointer dereference",
            "bug: unable|rcu stall|kernel crash|segfault|segmentation fault|sigsegv",
            "clang|compil",
            "llvm … error",
            "invalid elf|unexpected eof|malformed",
            "elf … error",
            "section … invalid",
        ),
        speaks={"other": 2.2},
        means="None of the usual causes: a conflict with another program, a crash, or a broken build.",
        source="datadog-agent#13762, falcosecurity/falco#2795",
    ),
)
