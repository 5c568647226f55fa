"""Rules for what the loading libraries print themselves: libbpf, cilium/ebpf, aya, bcc, Falco's drivers.

Their words name the step that failed; the kernel's answer beside them is in the other tables.

Not here: the kernel's own words, and hints that libraries add to an errno (``rules_rights``).
"""

from __future__ import annotations

from bpf.explain.rules_kernel import ENOENT
from bpf.explain.table import Rule

OTHER = "other"
TARGET = "attach_target_missing"
CONFIG = "missing_kernel_config"
OLD = "kernel_too_old"
ARCH = "arch_mismatch"
CORE = "core_relocation_failed"
BTF = "btf_missing"
CREATE = "map_create_failed"
FULL = "map_full"
LIMIT = "kprobe_attach_limit"
TRACEFS = "tracefs_debugfs_not_mounted"

RULES: tuple[Rule, ...] = (
    # ── the object and its loader ──
    Rule(
        when=(
            "unsupported btf_kind|unknown btf kind|unknown kind|unknown btf_kind",
            "btf_kind … unknown",
            "kind … not supported by this",
        ),
        speaks={OTHER: 6.5, BTF: -3},
        means="The loader's library is older than the kernel's type information and doesn't understand it.",
        source="libbpf src/btf.c, btf_parse_type_sec; iovisor/bcc#4815",
        fix="update the agent (its libbpf), or a BTF file without the new kinds where it takes one",
    ),
    Rule(
        when=(
            "load can't be attempted twice|legacy map definitions",
            "stripped object file|not a proper elf object",
            "not a 64-bit elf|not a valid ebpf object|invalid license section|object format invalid",
            "failed to find skeleton|skeleton map|forgot to initialize global|not an elf|bad magic number",
            "error parsing bpf object|error parsing elf|failed to parse elf|can't parse elf|cannot parse elf",
            "unknown section|no such program|missing program",
            "section … not supported",
            "program … not found in",
            "the program is not loaded|already loaded|already attached|not been loaded",
            "forget to include bpf/usdt|unexpected relo|unsupported relocation|error relocating",
            "only fentry/fexit|annotated with btf|does not have btf|incorrect source register",
            "same program|failed the sanity check|sanity check",
        ),
        speaks={OTHER: 3.2},
        means="The object and its loader don't fit each other: a fault of the build or of the agent.",
        source="libbpf src/libbpf.c; cilium/ebpf elf_reader.go; aya-obj/src/obj.rs",
        unless=("no such file or directory",),
    ),
    Rule(
        when=(
            " hang| hung | stuck|freezes|frozen|deadlock|unresponsive|nil pointer|core dumped",
            "call trace|tainted: |bad_alloc|uncaught exception|terminating due to|timeout waiting|rip: 0",
            "not found for kernel|you may need to install the following",
            "use after free|race condition|double free|assertion|stack smashing|corrupted|wrong result",
            "version mismatch|incompatible version|schema version|api version|driver version|not compatible",
            "/dev/falco|driver loader|kernel module|falco-driver|scap_init|address already in use|timed out",
            "xdp program already attached|already in use|busy|another instance|already running|conflict",
            "connection refused|context deadline|config file|yaml:|unmarshal|unknown flag|unknown field",
        ),
        speaks={OTHER: 2.6},
        means="A crash, a conflict or a version fault of the agent; none of the causes that have a name.",
        source="operators' words in public threads",
        unless=("insns", "argument list too long", "too many open files", "deadlock.py", "deadlock.c"),
    ),
    Rule(
        when=(
            "load_program|prog_load|load program|bpf_load … err=28|enospc|no space left|errno 28|errno=28",
        ),
        speaks={OTHER: 4.5, FULL: -2},
        means="ENOSPC on loading: the verifier's log is longer than the buffer it was given.",
        source="Linux kernel/bpf/log.c (until 6.3); falcosecurity/libs#316",
    ),
    Rule(
        when=(
            "fails to start|won't start|doesn't start|not start|cannot start|can't start|crashloop|crashes",
        ),
        speaks={OTHER: 1.2},
        means="The agent doesn't run; the line before says more.",
        source="operators' words in public threads",
    ),
    # ── CO-RE ──
    Rule(
        when=(
            "relocate … target",
            "impossible relocation|ambiguous relocation|unsized type|incompatible types",
            "co-re fixups|core fixups|corerelocate|co-re relocations: |invalid co-re|poisoned",
            "no compatible type|no matching type|target types",
            "type … not found in target",
            "has no member|no field|kernel_cap_t|offset guess",
            "field … doesn't exist",
            "offset … not found",
            "btfrelocationerror|relocation error|relocation failed|relo failed|bpf_core_",
        ),
        speaks={CORE: 3.2},
        means="The program couldn't be fitted to this kernel's types.",
        source="cilium/ebpf btf/core.go; aya-obj/src/btf/relocation.rs",
        unless=("no btf found", "no btf for", "without btf", "unsupported relocation"),
    ),
    Rule(
        when=(
            "kernels without config_|kernel without config_|kernels that don't have config_|lacks config_",
        ),
        speaks={CONFIG: 4.5, CORE: -2},
        means="The kernel option is named as what is missing.",
        source="Linux Kconfig; inspektor-gadget/inspektor-gadget#1769",
    ),
    Rule(
        when=(
            "not resolved, defaulting",
            "extern … (strong): not resolved",
            "open system kconfig|system kconfig",
        ),
        speaks={CONFIG: 4},
        means="The program asks for a kernel option that this kernel's configuration doesn't hold.",
        source="libbpf src/libbpf.c, bpf_object__resolve_externs",
    ),
    # ── attaching ──
    Rule(
        when=(
            f"write … kprobe_events|uprobe_events … {ENOENT}",
            "cannot write … to kprobe_events",
            "write … kprobe_events … einval|invalid argument",
        ),
        speaks={TARGET: 6, TRACEFS: -5},
        means="The file could be written, so it is mounted; the kernel didn't know the function.",
        source="Linux kernel/trace/trace_kprobe.c; weaveworks/scope#2784",
    ),
    Rule(
        when=(
            "failed to find symbol|could not find symbol|unable to resolve symbol|no symbol",
            "symbol … not in",
            "failed to resolve full path",
            "resolve … full path",
            "failed to attach bpf program|failed to attach bpf to",
            "attach bpf program … to kprobe",
            "notrace function|probe entry may not exist|could not probe|failed to create kprobe",
            "is not found in vmlinux btf|in kernel btf: not found",
            "failed to find … in vmlinux btf",
            "missing tracepoint|no tracepoint|no such tracepoint|unknown tracepoint",
            "tracepoint … does not",
            "could not locate|unable to locate|cannot locate",
            "failed to find … tracepoint",
            "event … not found",
            "no probes to attach|no probes found",
            "binary … not found",
            "library … not found",
            "usdt … not found",
        ),
        speaks={TARGET: 3.6},
        means="What the probe shall sit on wasn't found.",
        source="libbpf src/libbpf.c, attach_kprobe and resolve_full_path; bcc src/cc/libbpf.c",
        unless=("@no-tracefs", "neither debugfs", "errno 524", "enotsupp"),
    ),
    Rule(
        when=("524|enotsupp|fentry|fexit|trampoline|failed to attach",),
        speaks={ARCH: 4},
        means="Trampolines came to arm64 with 6.0, to riscv and s390 about then; to 32-bit arm never.",
        source="Linux arch/*/net/bpf_jit_comp.c; libbpf/libbpf-bootstrap#56",
        needs=("arm64|aarch64|arm-32|armv7|arm32|riscv|s390|ppc64|loongarch|mips|32-bit|32bit",),
        unless=("notrace", "probe entry may not exist"),
    ),
    Rule(
        when=(
            "aarch64|arm64|armv7|s390x|riscv|platform … trampoline|fentry|fexit",
            "trampoline|fentry|fexit … aarch64|arm64|armv7|s390x|riscv|only implemented on x86",
        ),
        speaks={ARCH: 1.5, CONFIG: -1.5},
        means="The kind of attachment and the machine are named in one sentence.",
        source="Linux arch/*/net/bpf_jit_comp.c; kubearmor/KubeArmor#1084",
        unless=("probe entry may not exist",),
    ),
    Rule(
        when=(
            "wrong endian|bigendian|littleendian|byte order",
            "can't load … on … endian",
            "program on … endian",
            "no matching manifest|does not match the detected host platform|no match for platform",
            "illegal instruction|sigill|rosetta|qemu-user|binfmt",
            "must specify a bpf target arch|target_arch|unsupported arch|unknown arch|arch not supported",
            "__x64_ … arm|aarch64",
            "arm … __x64_",
            "wrong binary|amd64 image|x86 image|x86_64 image|arm image",
        ),
        speaks={ARCH: 5},
        means="It was built for another machine.",
        source="cilium/ebpf prog.go (ByteOrder); libbpf bpf_tracing.h",
    ),
    Rule(
        when=("uprobe|uretprobe|usdt … 524|enotsupp", "524|enotsupp … uprobe|uretprobe"),
        speaks={TARGET: 3.5},
        means="The instruction at that address can't carry a probe: another offset or symbol.",
        source="Linux kernel/events/uprobes.c, arch_uprobe_analyze_insn; libbpf/libbpf-rs#272",
    ),
    Rule(
        when=(
            "never fire|not fire|doesn't fire|don't fire",
            "never called|never invoked|not triggered|never trigger",
            "never hit|not hit|no output|stripped",
        ),
        speaks={TARGET: 2.4, CONFIG: 0.8},
        means="It attached to something that isn't on the path any more, or to nothing.",
        source="operators' words in public threads",
        needs=("probe|hook|attach|tracepoint|symbol",),
    ),
    Rule(
        when=(
            "jit doesn't support|jit does not support|non-jited|not jited|jit is disabled",
            "bpf_jit … not",
        ),
        speaks={ARCH: 3.5, CONFIG: 2.6},
        means="This architecture's JIT can't do it, or the JIT is off.",
        source="Linux kernel/bpf/verifier.c, check_max_stack_depth; daeuniverse/dae#506",
    ),
    # ── maps ──
    Rule(
        when=(
            "open bpf map|create map|map create|create_map … argument list too long|e2big",
            "creating map|map_create … argument list too long|e2big",
            "ring map size|ringbuf size|ring buffer size … not a|must be",
            "max_entries is 0|max_entries 0|maxentries may be|max_entries: 0|zero entries|max entries is 0",
            "cannot create map: invalid|unable to create map: invalid|bpf_create_map_xattr",
            "value too large|map too large|map is too big",
            "value size … too",
            "value_size … too",
            "key size … too",
        ),
        speaks={CREATE: 4.5, ARCH: -1.5},
        means="The map's own size is at fault.",
        source="Linux kernel/bpf/hashtab.c, htab_map_alloc_check and ringbuf.c; iovisor/bcc#1471",
        unless=("unlimited", "old kernel", "@kernel<4.14", "operation not permitted", "permission denied"),
    ),
    Rule(
        when=(
            "e2big|argument list too long|quickly fill",
            "hitting the … limit",
            "hit the … limit",
            "reached … limit",
        ),
        speaks={FULL: 2.4},
        means="A map's size is reached.",
        source="Linux kernel/bpf/hashtab.c, alloc_htab_elem",
        needs=("map sizes|map size|tracking limit|tracked connections|maps full|conntrack|entries|update",),
        unless=("load program", "prog_load", "open bpf map", "create map", "map create", "insns"),
    ),
    Rule(
        when=("rodata|.data|.bss|.kconfig|create map|map create|create_map … invalid argument|einval|(-22)",),
        speaks={OLD: 5, CREATE: -1},
        means="An old kernel refuses a flag or a type of map that came later.",
        source="libbpf src/libbpf.c, bpf_object__create_map; bcc docs/kernel-versions.md",
        needs=("@kernel<5.8",),
        unless=("not a multiple", "page size"),
    ),
    # ── age ──
    Rule(
        when=("hash map type not supported|hash type not supported|array map type not supported",),
        speaks={"missing_capability": 6, OLD: -4},
        means="Every kernel with bpf() has that type: the trial was refused for want of rights.",
        source="bcc docs/kernel-versions.md (3.19); parca-dev/parca-agent#1979",
    ),
    Rule(
        when=(
            "not recognize|doesn't recognize|unrecognized|relatively recent … capabilit|cap_bpf|cap_perfmon",
            "setcap … invalid argument",
            "cap_bpf|cap_perfmon … not recognize|unrecognized|unknown|recent capability",
        ),
        speaks={OLD: 4.5, "missing_capability": -1},
        means="That capability came with 5.8; older kernels and runtimes don't know it.",
        source="Linux include/uapi/linux/capability.h (5.8); solo-io/bumblebee#64",
    ),
    Rule(
        when=("os error 95|eopnotsupp|operation not supported|errno 95|error -95|err=-95|(-95)",),
        speaks={OLD: 2.4, CONFIG: 1.8, ARCH: 0.8},
        means="EOPNOTSUPP: the kernel knows the request and wasn't built, or is too old, for it.",
        source="errno(3); sched-ext/scx#315",
    ),
    Rule(
        when=("kprobe_multi|kprobe.multi|multi kprobe|multi-kprobe|kprobe multi",),
        speaks={OLD: 1.8, CONFIG: 1.6, TARGET: 1.2, LIMIT: 1},
        means="Many functions with one attachment: since 5.18, with CONFIG_FPROBE.",
        source="Linux kernel/trace/bpf_trace.c, bpf_kprobe_multi_link_attach",
    ),
    Rule(
        when=("isn't supported even though|not supported even though|even though kernel is newer",),
        speaks={CONFIG: 5},
        means="The kernel is new enough, so it was built without it.",
        source="cilium/ebpf internal/testutils; cilium/ebpf#1460",
    ),
    Rule(
        when=("bpf_f_mmapable|mmapable|perf_event_ioc_set_bpf … invalid argument|einval", "bpf_f_mmapable"),
        speaks={OLD: 4.5},
        means="A flag, or a program on this kind of event, that the kernel doesn't know yet.",
        source="Linux include/uapi/linux/bpf.h (5.5), kernel/events/core.c (4.7); OpenCloudOS/nettrace#89",
    ),
    Rule(
        when=("incomplete definition of type 'struct tracepoint__|incomplete type 'struct tracepoint__",),
        speaks={TRACEFS: 6, CORE: -3},
        means="bcc makes this struct out of the event's format file: it couldn't read it from tracefs.",
        source="bcc src/cc/frontends/clang/tp_frontend_action.cc; sustainable-computing-io/kepler#777",
    ),
    Rule(
        when=("misaligned",),
        speaks={ARCH: 4},
        means="This architecture can't access memory off its natural boundary.",
        source="Linux kernel/bpf/verifier.c, check_ptr_alignment (HAVE_EFFICIENT_UNALIGNED_ACCESS)",
        needs=("loongarch|mips|arm|riscv|sparc|s390|ppc",),
    ),
    Rule(
        when=("use btf specs from|custom btf|external btf|btfhub|with btf file",),
        speaks={OLD: 4.5, BTF: -2},
        means="Even with a BTF file from elsewhere: a kernel before 4.14 lacks too much.",
        source="mozillazg/ptcpdump#339",
        needs=("@kernel<4.14",),
    ),
    Rule(
        when=(
            "after … upgrade … kernel … works|solved|fixed",
            "upgrade the kernel|upgrading the kernel",
            "upgraded the kernel|upgrading kernel|upgrade your kernel",
            "newer kernel|recent kernel|kernel is old|too old|at least kernel|needs 5.|need 5.|requires 5.",
            "not available in kernel|not available on kernel|not supported in kernel|not supported on kernel",
            "not supported (requires|unknown prog|unknown map|unsupported prog",
            "prog type … not supported",
        ),
        speaks={OLD: 3},
        means="The words are about the kernel's age.",
        source="cilium/ebpf internal/feature.go; bcc docs/kernel-versions.md",
        unless=("no btf", "without btf", "lockdown"),
    ),
)
