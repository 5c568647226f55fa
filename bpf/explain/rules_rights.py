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
            "missing cap_|missing capabilit|lacks cap|lack of cap|without cap_|requires cap_|needs cap_|require cap_",
            "cap_bpf|cap_perfmon|cap_sys_admin|cap_net_admin|cap_sys_ptrace|cap_sys_resource",
            "insufficient capabilit|missing required capabilit|capabilities are missing|not enough capabilit",
        ),
        speaks={CAPABILITY: 3.5},
        means="A capability is named: BPF needs CAP_BPF, with CAP_PERFMON or CAP_NET_ADMIN by type (5.8+), else CAP_SYS_ADMIN.",
        source="man 7 capabilities; Linux kernel/bpf/syscall.c",
    ),
    Rule(
        when=(
            "run as root|be root|root privilege|root permission|requires root|need root|needs root|with sudo|not root|superuser|as root",
            "insufficient privilege|insufficient permission|not privileged|lacks privilege|without privilege|elevated privilege",
            "setcap |ambientcapabilities|getcap |capability set|capeff",
            "not enough privilege|missing privilege|need privilege|requires privilege",
        ),
        speaks={CAPABILITY: 3},
        means="The process doesn't run with the rights that BPF needs.",
        source="man 7 capabilities",
    ),
    Rule(
        when=("perf_event_paranoid", "perf_event_open … operation not permitted|permission denied|eacces|eperm"),
        speaks={CAPABILITY: 3.5},
        means="perf_event_open needs CAP_PERFMON above this level of kernel.perf_event_paranoid.",
        source="Linux Documentation/admin-guide/perf-security.rst",
    ),
    # ── seccomp and what a container platform refuses ──
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
            "autopilot|warden|denied the request", "admission webhook … denied", "admission webhook … deny",
            "privileged containers are not allowed|privileged: invalid value|privileged container is not allowed",
            "hostpath volumes are not allowed|hostpid", "hostnetwork … not allowed",
            "is forbidden: ", "pod … forbidden",
        ),
        speaks={SECCOMP: 5},
        means="The platform refuses the pod, or narrows it, before the kernel is asked.",
        source="Kubernetes: Pod Security Standards; OpenShift: security context constraints",
    ),
    Rule(
        when=("privileged: true|--privileged|privileged mode|unprivileged container|rootless|privileged container",),
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
    # ── lockdown and security modules ──
    Rule(
        when=("lockdown", "locked down", "use of bpf to read kernel ram is restricted", "kernel_lockdown"),
        speaks={LOCKDOWN: 6.5},
        means="Kernel lockdown (often through Secure Boot) forbids BPF to read kernel memory, or kprobes altogether.",
        source="Linux security/lockdown; man 7 kernel_lockdown",
    ),
    Rule(
        when=("secure boot|secureboot|integrity mode|confidentiality",),
        speaks={LOCKDOWN: 3.5},
        means="Secure Boot switches lockdown on in many distributions.",
        source="man 7 kernel_lockdown",
    ),
    Rule(
        when=(
            "avc: denied|avc:  denied|avc denial|tclass=bpf|tclass=perf_event|tclass=lockdown",
            "selinux",
            "apparmor",
            "lsm=|bpf lsm|lsm list|/sys/kernel/security/lsm|lsm hook|lsm program|security/lsm|lsm bpf|bpf-lsm|lsm/",
        ),
        speaks={LOCKDOWN: 4},
        means="A Linux security module decides: it denies, or the BPF LSM isn't among the active ones.",
        source="Linux security/; kernel parameter lsm=",
    ),
    # ── sysctl ──
    Rule(
        when=("unprivileged_bpf_disabled", "unprivileged bpf", "unprivileged user … bpf", "bpf … unprivileged user"),
        speaks={SYSCTL: 6},
        means="kernel.unprivileged_bpf_disabled refuses bpf() to processes without CAP_BPF.",
        source="Linux Documentation/admin-guide/sysctl/kernel.rst",
    ),
    # ── locked memory ──
    Rule(
        when=("memlock may be too low|consider removing memlock|rlimit.removememlock", "memlock … too low",),
        speaks={CAPABILITY: 1.2, SECCOMP: 0.9, MEMLOCK: 0.6, SYSCTL: 0.4},
        means="cilium/ebpf adds this hint to any EPERM: since 5.11 the limit isn't even looked at.",
        source="cilium/ebpf map.go and prog.go; moby/moby#43374, tailscale/tailscale#12390",
    ),
    Rule(
        when=(
            "rlimit_memlock|setrlimit|rlimit memlock|memlock rlimit|memlock limit|limitmemlock|ulimit -l|locked memory|locked-in-memory",
            "bump rlimit|set rlimit|increase rlimit|raise rlimit|remove memlock|removing memlock|adjust rlimit|rlimit lock",
        ),
        speaks={MEMLOCK: 4.5},
        means="Before 5.11 BPF maps and programs count against the limit of locked memory.",
        source="Linux kernel/bpf/syscall.c, bpf_charge_memlock (until 5.10)",
    ),
    Rule(
        when=("memlock|rlimit",),
        speaks={MEMLOCK: 1},
        means="The limit of locked memory is named.",
        source="Linux kernel/bpf/syscall.c (until 5.10)",
    ),
    Rule(
        when=("cannot allocate memory|enomem",),
        speaks={MEMLOCK: 0.8, "map_create_failed": 1.5, "oom_kill": 0.3},
        means="ENOMEM on creating a map: its size, the cgroup's limit, or (bcc) the locked-memory limit.",
        source="Linux kernel/bpf/syscall.c, map_create",
        needs=("map",),
    ),
)
