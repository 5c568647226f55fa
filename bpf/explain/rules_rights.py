"""Rules for what is refused: capabilities, seccomp, lockdown and LSMs, sysctls, locked memory.

They share one errno, EPERM, and its hints mislead; so EPERM itself speaks a little for each, and
what stands beside it decides.

Not here: what the host says (``host_rules``).
"""

from __future__ import annotations

from bpf.explain.table import Rule

CAPABILITY = "missing_capability"
SECCOMP = "seccomp_or_container_policy"
LOCKDOWN = "lockdown_or_lsm"
SYSCTL = "unprivileged_bpf_disabled"
MEMLOCK = "memlock_rlimit"

RULES: tuple[Rule, ...] = (
    Rule(
        when=("operation not permitted|eperm|errno=1 |errno 1 |err=-1 |error -1 |errno: 1 |os error 1)",),
        speaks={CAPABILITY: 2.2, SECCOMP: 0.8, LOCKDOWN: 0.6, SYSCTL: 0.4, MEMLOCK: 0.4},
        means="EPERM: some right is missing; it doesn't say which.",
        source="Linux kernel/bpf/syscall.c, __sys_bpf",
    ),
    Rule(
        when=("permission denied|eacces|os error 13|errno=13|error -13|err=-13",),
        speaks={CAPABILITY: 1.0, LOCKDOWN: 0.7, SECCOMP: 0.3},
        means="EACCES: the verifier's refusal, or a file, SELinux or AppArmor.",
        source="Linux kernel/bpf/verifier.c; man 2 bpf",
    ),
    # ── capabilities ──
    Rule(
        when=(
            "missing cap_|missing capabilit|lacks cap|lack of cap|without cap_|requires cap_|needs cap_",
            "require cap_",
            "cap_bpf|cap_perfmon|cap_sys_admin|cap_net_admin|cap_sys_ptrace|cap_sys_resource",
            "insufficient capabilit|missing required capabilit|capabilities are missing|not enough capabilit",
        ),
        speaks={CAPABILITY: 3.5},
        means=(
            "A capability is named: BPF needs CAP_BPF, with CAP_PERFMON or CAP_NET_ADMIN by type "
            "(5.8+), else CAP_SYS_ADMIN."
        ),
        source="man 7 capabilities; Linux kernel/bpf/syscall.c",
    ),
    Rule(
        when=(
            "run as root|be root|root privilege|root permission|requires root|need root|needs root",
            "with sudo|not root|superuser|as root",
            "insufficient privilege|insufficient permission|not privileged|lacks privilege",
            "without privilege|elevated privilege",
            "setcap |ambientcapabilities|getcap |capability set|capeff",
            "not enough privilege|missing privilege|need privilege|requires privilege",
        ),
        speaks={CAPABILITY: 3},
        means="The process doesn't run with the rights that BPF needs.",
        source="man 7 capabilities",
        unless=("while running as root", "despite running as root", "despite being root"),
    ),
    Rule(
        when=(
            "perf_event_paranoid",
            "perf_event_open … operation not permitted|permission denied|eacces|eperm",
        ),
        speaks={CAPABILITY: 3.5},
        means="perf_event_open needs CAP_PERFMON above this level of kernel.perf_event_paranoid.",
        source="Linux Documentation/admin-guide/perf-security.rst",
    ),
    Rule(
        when=("unknown capability|invalid capability|unrecognized capability|no such capability",),
        speaks={"kernel_too_old": 6, CAPABILITY: -1},
        means=(
            "The kernel or the container runtime doesn't know that capability: CAP_BPF and CAP_PERFMON "
            "came with 5.8."
        ),
        source="Linux include/uapi/linux/capability.h (5.8); netobserv/netobserv-ebpf-agent#34",
        needs=("cap_bpf|cap_perfmon|bpf|perfmon",),
    ),
    Rule(
        when=("user namespace|userns|rootless|unprivileged container|unprivileged lxc",),
        speaks={CAPABILITY: 2, SECCOMP: 1},
        means="In a user namespace of its own no capability counts for bpf().",
        source="man 7 user_namespaces",
        needs=("operation not permitted|eperm|permission denied",),
    ),
    # ── seccomp and what a container platform refuses ──
    Rule(
        when=("refused by a seccomp filter", "type=1326", "audit … seccomp … syscall="),
        speaks={SECCOMP: 7},
        means="The filter itself was seen to refuse the call, before the kernel looked at it.",
        source="Linux kernel/seccomp.c, audit records of type 1326 (AUDIT_SECCOMP)",
    ),
    Rule(
        when=("bad system call|sigsys|scmp_act",),
        speaks={SECCOMP: 5},
        means="A seccomp filter ended the call or the process.",
        source="man 2 seccomp",
    ),
    Rule(
        when=("seccomp",),
        speaks={SECCOMP: 4.5},
        means="A seccomp filter stands between the process and bpf() or perf_event_open().",
        source="moby profiles/seccomp; moby/moby#43374",
    ),
    Rule(
        when=(
            "violates podsecurity|podsecuritypolicy|pod security polic|podsecurity",
            "security context constraint|securitycontextconstraint",
            "autopilot|warden|denied the request",
            "admission webhook … denied",
            "admission webhook … deny",
            "privileged containers are not allowed|privileged: invalid value",
            "privileged container is not allowed",
            "hostpath volumes are not allowed|hostpid",
            "hostnetwork … not allowed",
            "is forbidden: ",
            "pod … forbidden",
        ),
        speaks={SECCOMP: 5},
        means="The platform refuses the pod, or narrows it, before the kernel is asked.",
        source="Kubernetes: Pod Security Standards; OpenShift: security context constraints",
    ),
    Rule(
        when=(
            "privileged: true|--privileged|privileged mode|unprivileged container|rootless",
            "privileged container",
        ),
        speaks={SECCOMP: 1.5, CAPABILITY: 1.5},
        means="It is a matter of what the container may do.",
        source="Kubernetes: securityContext",
    ),
    Rule(
        when=("docker|podman|containerd|lxc|default profile",),
        speaks={SECCOMP: 0.8},
        means="It runs in a container; default profiles refuse bpf() without CAP_BPF or CAP_SYS_ADMIN.",
        source="moby profiles/seccomp/default.json",
        needs=("operation not permitted|eperm|permission denied",),
    ),
    Rule(
        when=("mount bpf|mounting bpf|mount the bpf … permission denied|not permitted|eperm|eacces",),
        speaks={CAPABILITY: 5, "pin_path_or_bpffs": -1},
        means="Mounting a file system takes CAP_SYS_ADMIN (and a container's profile that allows it).",
        source="man 2 mount; grafana/beyla#475",
    ),
    # ── lockdown and security modules ──
    Rule(
        when=("lockdown", "locked down", "use of bpf to read kernel ram is restricted", "kernel_lockdown"),
        speaks={LOCKDOWN: 6.5},
        means=(
            "Kernel lockdown (often through Secure Boot) forbids BPF to read kernel memory, or kprobes "
            "altogether."
        ),
        source="Linux security/lockdown; man 7 kernel_lockdown",
    ),
    Rule(
        when=("secure boot|secureboot|integrity mode|confidentiality",),
        speaks={LOCKDOWN: 3.5},
        means="Secure Boot switches lockdown on in many distributions.",
        source="man 7 kernel_lockdown",
    ),
    Rule(
        when=("secure boot|secureboot|uefi",),
        speaks={LOCKDOWN: 1.5, CAPABILITY: -1.2},
        means="Root is refused, and Secure Boot is on.",
        source="iovisor/bcc#2525",
        needs=("as root|sudo|privileged",),
    ),
    Rule(
        when=("despite running as root|despite being root|although root|even as root|even though root",),
        speaks={LOCKDOWN: 3, CAPABILITY: -2},
        means="Root outside a container is refused: lockdown or a security module.",
        source="bcc FAQ.txt; iovisor/bcc#2525, grafana/pyroscope#1832",
        needs=("operation not permitted|eperm|permission denied",),
        unless=("container", "docker", "podman", "kubernetes", "securitycontext"),
    ),
    Rule(
        when=(
            ":container_t|:spc_t|:init_t|container_runtime_t|unconfined_service_t|sysadm_t|audit2allow|semodule",
            "bpf:prog_run|bpf:map_create|bpf:prog_load|prog_run permission|prog_run access",
        ),
        speaks={LOCKDOWN: 2.8},
        means="SELinux's names of domains and permissions.",
        source="SELinux class bpf; containers/container-selinux#390",
        needs=("bpf",),
    ),
    Rule(
        when=(
            "avc: denied|avc:  denied|avc denial|tclass=bpf|tclass=perf_event|tclass=lockdown",
            "selinux",
            "apparmor",
        ),
        speaks={LOCKDOWN: 4},
        means="A Linux security module decides.",
        source="Linux security/",
        unless=("@lsm-list-without-bpf",),
    ),
    Rule(
        when=("lsm=|bpf lsm|lsm list|lsm hook|lsm program|security/lsm|lsm bpf|bpf-lsm|lsm probe|lsm/",),
        speaks={LOCKDOWN: 2.0, "missing_kernel_config": 2.6},
        means="The BPF LSM must be built in and among the active modules.",
        source="Linux security/Kconfig, CONFIG_LSM; kernel parameter lsm=",
    ),
    Rule(
        when=("cannot use helper|unknown func … bpf_probe_read", "bpf_probe_read … denied|restricted|locked"),
        speaks={LOCKDOWN: 3.5, "missing_kernel_config": 2.2},
        means=(
            "Under lockdown (confidentiality) the kernel hides the helpers that read its memory: it "
            "says 'cannot use helper'."
        ),
        source=(
            "Linux kernel/trace/bpf_trace.c, security_locked_down(LOCKDOWN_BPF_READ_KERNEL); "
            "cilium/tetragon#5507"
        ),
        unless=("xdp", "sched_cls", "s390"),
    ),
    Rule(
        when=("cannot use helper … bpf_probe_read",),
        speaks={LOCKDOWN: 3},
        means=(
            "Every tracing program has bpf_probe_read, unless lockdown hides it; this wording is of "
            "6.11 and later."
        ),
        source="Linux kernel/trace/bpf_trace.c; cilium/tetragon#5507",
        unless=("xdp", "sched_cls", "s390", "socket"),
    ),
    Rule(
        when=("unknown func|cannot use helper … bpf_probe_read",),
        speaks={"arch_mismatch": 6},
        means=(
            "Where user and kernel addresses overlap (s390x, some others) only bpf_probe_read_kernel "
            "and _user exist."
        ),
        source=(
            "Linux kernel/trace/bpf_trace.c, CONFIG_ARCH_HAS_NON_OVERLAPPING_ADDRESS_SPACE; "
            "falcosecurity/libs#497"
        ),
        needs=("s390|address space|sparc|parisc",),
    ),
    Rule(
        when=("@lsm-list-without-bpf",),
        speaks={"missing_kernel_config": 6},
        means="The BPF LSM isn't among the active modules: its programs load and never fire.",
        source="Linux security/Kconfig, CONFIG_LSM; kernel parameter lsm=",
    ),
    Rule(
        when=(
            "not permitted … /sys/kernel/debug|/sys/kernel/tracing",
            "/sys/kernel/debug|/sys/kernel/tracing … not permitted",
        ),
        speaks={LOCKDOWN: 4, CAPABILITY: 0.5, "tracefs_debugfs_not_mounted": -3},
        means="EPERM on a file of debugfs or tracefs that is there: lockdown closes them even to root.",
        source="Linux fs/debugfs/file.c and fs/tracefs, LOCKDOWN_DEBUGFS, LOCKDOWN_TRACEFS",
    ),
    Rule(
        when=("/sys/kernel/debug|/sys/kernel/tracing|kprobe_events|uprobe_events … permission denied",),
        speaks={CAPABILITY: 2.5, LOCKDOWN: 1.2, SECCOMP: 0.8, "tracefs_debugfs_not_mounted": -2.5},
        means="EACCES on a file that is there: the process is not root, or a security module refuses.",
        source="Linux fs/tracefs",
    ),
    Rule(
        when=("load program|load bpf program|program load|failed to load … permission denied",),
        speaks={LOCKDOWN: 1.4},
        means=(
            "EACCES on loading with no verifier's complaint in sight: the complaint was cut off, or a "
            "security module refused."
        ),
        source="Linux kernel/bpf/syscall.c, bpf_prog_load",
        unless=("insns", "invalid ", "!read_ok", ": ("),
    ),
    # ── sysctl ──
    Rule(
        when=(
            "unprivileged_bpf_disabled",
            "unprivileged bpf",
            "unprivileged user … bpf",
            "bpf … unprivileged user",
        ),
        speaks={SYSCTL: 6},
        means="kernel.unprivileged_bpf_disabled refuses bpf() to processes without CAP_BPF.",
        source="Linux Documentation/admin-guide/sysctl/kernel.rst",
    ),
    # ── locked memory ──
    Rule(
        when=(
            "memlock may be too low|consider removing memlock|rlimit.removememlock",
            "memlock … too low",
        ),
        speaks={CAPABILITY: 1.2, SECCOMP: 1.4, MEMLOCK: 0.2, SYSCTL: 0.6},
        means="cilium/ebpf adds this hint to any EPERM: since 5.11 the limit isn't even looked at.",
        source="cilium/ebpf map.go and prog.go; moby/moby#43374, tailscale/tailscale#12390",
    ),
    Rule(
        when=("drop|dropping|dropped|without … cap_sys_admin|cap_bpf|privileges",),
        speaks={SYSCTL: 4, CAPABILITY: 0.5},
        means="Without a capability it depends on kernel.unprivileged_bpf_disabled.",
        source="Linux kernel/bpf/syscall.c, __sys_bpf; linux-test-project/ltp#651",
        needs=("operation not permitted|eperm",),
    ),
    Rule(
        when=(
            "rlimit_memlock|setrlimit|rlimit memlock|memlock rlimit|memlock limit|limitmemlock|ulimit -l",
            "locked memory|locked-in-memory",
            "bump rlimit|set rlimit|increase rlimit|raise rlimit|remove memlock|removing memlock",
            "adjust rlimit|rlimit lock",
        ),
        speaks={MEMLOCK: 4.5},
        means="Before 5.11 BPF maps and programs count against the limit of locked memory.",
        source="Linux kernel/bpf/syscall.c, bpf_charge_memlock (until 5.10)",
        unless=(
            "couldn't load trivial bpf",
            "info: raising rlimit",
            "memlock may be too low",
            "raising rlimit_memlock to",
        ),
    ),
    Rule(
        when=("memlock|rlimit",),
        speaks={MEMLOCK: 1},
        unless=("couldn't load trivial bpf", "memlock may be too low", "raising rlimit_memlock to"),
        means="The limit of locked memory is named.",
        source="Linux kernel/bpf/syscall.c (until 5.10)",
    ),
    Rule(
        when=(
            "setrlimit|rlimit|rlim_memlock|memlock … operation not permitted|permission denied|eperm",
            "setrlimit|rlimit|rlim_memlock|memlock … err = -1",
        ),
        speaks={CAPABILITY: 6, MEMLOCK: -0.5},
        means="The limit could not be raised: that itself needs CAP_SYS_RESOURCE.",
        source="man 2 setrlimit; containers/crun#255",
        unless=("memlock may be too low", "couldn't load trivial"),
    ),
    Rule(
        when=("could not open bpf map … operation not permitted",),
        speaks={MEMLOCK: 2.8},
        means=(
            "bcc's message for a map that can't be created; for root on an old kernel the memory limit "
            "is the usual reason."
        ),
        source="iovisor/bcc#279; Linux kernel/bpf/syscall.c (until 5.10)",
        unless=("privilege", "as root", "capab", "map type enabled"),
    ),
    Rule(
        when=("couldn't load trivial bpf program|could not load trivial bpf program",),
        speaks={"kernel_too_old": 5},
        means="EINVAL for an empty program: the kernel doesn't know even that type of program.",
        source="libbpf src/libbpf.c, bpf_object__probe_loading; libbpf/libbpf#230",
        needs=("invalid argument|einval",),
    ),
    Rule(
        when=("couldn't load trivial bpf program|could not load trivial bpf program",),
        speaks={LOCKDOWN: 5},
        means=(
            "EACCES for an empty program comes from a security module, mostly SELinux: capabilities "
            "give EPERM."
        ),
        source="Linux security/selinux/hooks.c, selinux_bpf; aquasecurity/tracee#404",
        needs=("permission denied|eacces",),
    ),
    Rule(
        when=("couldn't load trivial bpf program|could not load trivial bpf program",),
        speaks={CAPABILITY: 3, SECCOMP: 1},
        means=(
            "libbpf guesses at CONFIG_BPF_SYSCALL and RLIMIT_MEMLOCK whenever its first, empty program "
            "is refused."
        ),
        source="libbpf src/libbpf.c, bpf_object__probe_loading; libbpf/libbpf-bootstrap#155",
        needs=("operation not permitted|eperm|):(1)",),
    ),
    Rule(
        when=("cannot allocate memory|enomem",),
        speaks={MEMLOCK: 0.8, "map_create_failed": 2.5, "oom_kill": 0.3},
        means="ENOMEM on creating a map: its size, the cgroup's limit, or (bcc) the locked-memory limit.",
        source="Linux kernel/bpf/syscall.c, map_create",
        needs=("map",),
    ),
)
