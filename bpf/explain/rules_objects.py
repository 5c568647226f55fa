"""Rules for BPF's objects on their way in: architecture, pins, maps, limits; and for what is none of it.

Not here: what the kernel lacks (``rules_kernel``), the verifier (``rules_verifier``).
"""

from __future__ import annotations

from bpf.explain.rules_kernel import ENOENT
from bpf.explain.table import Rule

CONFIG = "missing_kernel_config"
OLD = "kernel_too_old"
ARCH = "arch_mismatch"
PIN = "pin_path_or_bpffs"
CREATE = "map_create_failed"
LIMIT = "kprobe_attach_limit"

RULES: tuple[Rule, ...] = (
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
            f"/sys/fs/bpf … {ENOENT}|read-only|permission denied|not mounted|not permitted",
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
        speaks={CREATE: 5.5, ARCH: 2},
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
            "thousands of kprobes",
            "trampoline … e2big",
        ),
        speaks={LIMIT: 4.5},
        means="A limit of attachments is reached: file descriptors, probes, or programs on one function.",
        source="Linux kernel/trace/trace_kprobe.c; bpf_prog_array (BPF_TRAMP_MAX_PROGS); man 5 limits.conf",
    ),
    # ── others ──
    Rule(
        when=(f"/sys/kernel/security … {ENOENT}",),
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
