"""Rules for words that say little alone: what is left when an operator tells it in his own words.

Few points each: a message that the other tables know outweighs them. Where no word says anything,
the priors rank by how often each cause was confirmed for what was attempted.

Not here: messages of kernels and libraries (the other tables).
"""

from __future__ import annotations

from bpf.explain.table import Rule

CAPABILITY = "missing_capability"
SECCOMP = "seccomp_or_container_policy"
LOCKDOWN = "lockdown_or_lsm"
MEMLOCK = "memlock_rlimit"
OLD = "kernel_too_old"
CONFIG = "missing_kernel_config"
ARCH = "arch_mismatch"
TARGET = "attach_target_missing"
DROPS = "ringbuf_or_perfbuf_drops"
FULL = "map_full"
GROWTH = "map_unbounded_growth"
LEAK = "memory_leak_userspace"
OOM = "oom_kill"
CPU_USER = "high_cpu_userspace"
CPU_BPF = "high_cpu_bpf_prog"
LIMIT = "kprobe_attach_limit"
TYPE = "verifier_uninit_or_type"

WORDS = "operators' own words in public threads"
BPF = "bpf|probe|xdp|libbpf|verifier|tracepoint|fentry|fexit|bcc"
FAILING = "fail|error|unable|cannot|can't|could not|crash|invalid|not work|doesn't work|refus|reject|denied"

RULES: tuple[Rule, ...] = (
    # ── memory ──
    Rule(
        when=(" memory|rss| ram |heap|mem usage|mem%|vsz|resident",),
        speaks={LEAK: 2.2, OOM: 0.5},
        means="Memory is named with words of growth.",
        source=WORDS,
        needs=(
            "leak|grow|increas|climb|excessive|gradual|over time|few hours|after hours|after days|keeps|"
            "creep|building up|build up|buildup|builds up|not release|never free",
            "not free|never release|too much|a lot of|huge|high |huge|"
            "continuous|steadily|rising|rises|reaches|goes up|went up|never goes down|unbounded|retain",
        ),
        unless=("allocate memory", "invalid memory", "locked memory", "locked-in-memory", "memory access"),
    ),
    Rule(
        when=("vmrss|goroutine|inuse|heap_alloc|heapalloc|malloc|jemalloc|pprof|finalizer|sync.pool",),
        speaks={LEAK: 1.5},
        means="Figures of the process's own memory.",
        source="proc(5); Go runtime/pprof",
        needs=("leak|memory|rss|heap|grow",),
    ),
    Rule(
        when=(
            "not release|never release|not free|never free|forgot to free|missing free|never evict|not evict",
        ),
        speaks={LEAK: 1.8, GROWTH: 0.8},
        means="Something isn't given back.",
        source=WORDS,
        unless=("reference", "insns"),
    ),
    Rule(
        when=("restart",),
        speaks={LEAK: 1.8, GROWTH: 0.8},
        means="It grows until a restart resets it.",
        source=WORDS,
        needs=("grows|growing|grew|increas|leak|climb",),
        unless=("cpu",),
    ),
    Rule(
        when=(" oom |oom)|oom,|oom.|(oom|ooms|oom-",),
        speaks={OOM: 3},
        means="Out of memory, in short.",
        source=WORDS,
        unless=("oom_kill probe", "oom kill probe", "room"),
    ),
    Rule(
        when=("grow|increas|leak|climb … until|till|before … oom|out of memory|killed|limit",),
        speaks={LEAK: 3.5, OOM: -2.5},
        means="The growth is the cause, its end the kernel's answer.",
        source="kubearmor/KubeArmor#2074",
    ),
    Rule(
        when=("killed|evicted|restarts|restarting|crashloop|restarted",),
        speaks={OOM: 1.8},
        means="It was ended, with memory named.",
        source=WORDS,
        needs=("memory|oom| mi |mib|gib|memory limit",),
    ),
    # ── maps ──
    Rule(
        when=(
            "don't remove|not remove|not removing|never remov|never delet|not delet|don't delete|not clean",
            "never clean|isn't removed|isn't deleted|aren't removed|aren't deleted|aren't cleaned",
            "without remov|without delet|without clean|will remain|remain in|remains in|left in|left behind",
            "still in the map|old entries|dead process|exited process|stale|accumulat|orphan|leak",
            "fill up|fills up|filling up|filled up|grows|growing|gc |garbage|expire|evict|clean up|cleanup",
        ),
        speaks={GROWTH: 2.4},
        means="Elements of a map outlive what they stand for.",
        source=WORDS,
        needs=(" map| maps|bpf_map|hash table|entries", "@[", "rqtp"),
        unless=("memory leak", "ring buffer full", "pin"),
    ),
    Rule(
        when=(
            "truncat|full|exhaust|capacity|max entries|max_entries",
            "maximum entries|size of|pressure|overflow|too small",
        ),
        speaks={FULL: 1.8},
        means="The size of a map is named.",
        source=WORDS,
        needs=(" map| maps|_map|conntrack| ct | nat |table",),
        unless=("create", "ring", "perf buffer", "value_size", "insns"),
    ),
    # ── CPU ──
    Rule(
        when=(" cpu|cpu%|cpu:|cpu usage|cpu-usage|load average|processor",),
        speaks={CPU_USER: 1.6, CPU_BPF: 1.4},
        means="CPU is named with words of much.",
        source=WORDS,
        needs=(
            "high|usage|consum|100%|spike|burn|hog|peg|idle|busy|load|core|heavy|too much|excessive|spin|"
            "increase|throttl|utiliz|%",
        ),
        unless=("per-cpu", "percpu", "on cpu #", "lost"),
    ),
    Rule(
        when=(
            "overhead|slow|latency|degrad|throughput|more resources|performance|rt_ns|avg_ns|ns/op|impact",
        ),
        speaks={CPU_BPF: 1.8, CPU_USER: 0.8},
        means="What a program costs each time it runs.",
        source=WORDS,
        needs=(
            "probe|hook|trampoline|bpf prog|bpftool prog|per call",
            "each call|every call|syscall|per-packet|packet|sched_switch|softirq|context switch|tracepoint",
        ),
        unless=("lost", "dropped"),
    ),
    Rule(
        when=("rt_ns|run_time_ns|run_cnt|avg_run_time|bpftop|bpf_stats|bpf_prog_",),
        speaks={CPU_BPF: 2.2},
        means="Figures of a BPF program's run time.",
        source="bpftool prog show; Linux kernel.bpf_stats_enabled",
        unless=("bpf_prog_load", "bpf_prog_type", "bpf_prog_attach", "bpf_prog_test"),
    ),
    Rule(
        when=(
            "thread|contention|loop|poll|pars|regex|symbol",
            "json|serializ|goroutine|scan|/proc|mutex|gc |sleep",
        ),
        speaks={CPU_USER: 1.2},
        means="Work in user space is named.",
        source=WORDS,
        needs=(" cpu|cpu%",),
    ),
    Rule(
        when=(
            "workload|throughput|application|kernel resource|the node|nodes|whole system|entire system",
            "ksoftirqd|softirq|latency|every event|network events|syscall rate",
        ),
        speaks={CPU_BPF: 1.7},
        means="Others than the agent pay for it: that is the cost of programs in the kernel.",
        source=WORDS,
        needs=(" cpu",),
    ),
    Rule(
        when=("agent|daemon|plugin|profiler|collector|exporter|sensor",),
        speaks={CPU_USER: 0.8},
        means="The CPU is the agent's own.",
        source=WORDS,
        needs=(" cpu",),
    ),
    # ── events ──
    Rule(
        when=(
            "loss|losing|lose |lost|disappear|silently|missing|miss |missed|drop|overflow|overrun|overwhelm",
        ),
        speaks={DROPS: 2},
        means="Events don't arrive.",
        source=WORDS,
        needs=(
            "events|samples|records|perf buffer|perf ring|ring buffer|ringbuf|perf event|perfbuf|messages",
        ),
        unless=("missing cap", "libbpf: failed", "insns", "no such file"),
    ),
    # ── limits ──
    Rule(
        when=("limit|limitation|maximum|too many|at most|exceed|exhaust|ulimit|descriptor|max_",),
        speaks={LIMIT: 2.2},
        means="A limit is named with many probes.",
        source=WORDS,
        needs=("uprobe|kprobe|probes|functions to trace|attach",),
        unless=("insns", "memlock", "memory limit", "verifier", "rate limit", "memory"),
    ),
    # ── rights ──
    Rule(
        when=("errno 13|errno: 13|permission denied|eacces|(-13)|err=-13|os error 13",),
        speaks={LOCKDOWN: 3.2},
        means="bpf() answers EACCES to a map only when a security module refuses; a missing right is EPERM.",
        source="Linux security/security.c, security_bpf; deepflowio/deepflow#2211",
        needs=(
            "create_map|map create|create map|creating map|loading map|load map|map_create",
            "create … map",
        ),
        unless=("pin", "insns", "/sys/fs/bpf"),
    ),
    Rule(
        when=("by id|get prog|get map|prog list|prog_run|map_read|map_write … permission denied",),
        speaks={LOCKDOWN: 3},
        means="EACCES on looking at an object that exists: a security module keeps it apart.",
        source="Linux security/selinux/hooks.c, selinux_bpf_prog; opencontainers/runc#3121",
        needs=("permission denied|eacces",),
    ),
    Rule(
        when=(
            "load_program|prog_load|load_bpf|load program|load_prog … err=1 |errno 1 |ret=-1 |err:1 |err: 1 ",
        ),
        speaks={CAPABILITY: 2.5, SECCOMP: 0.6, MEMLOCK: 0.6},
        means="Errno 1 is EPERM: a right is missing.",
        source="errno(3)",
    ),
    Rule(
        when=("map create|create map|create_map|creating map|map_create|loading map|open bpf map",),
        speaks={MEMLOCK: 1.9},
        means="EPERM on creating a map without the library's hint at the limit: old kernels charge it so.",
        source="Linux kernel/bpf/syscall.c, bpf_map_charge_init (until 5.10); cloudflare/xdpcap#1",
        needs=("operation not permitted|eperm",),
        unless=("memlock may be too low", "privilege", "capab", "dropping", "daemonset", "cap_"),
    ),
    Rule(
        when=("sudo ./|sudo python|sudo bpf|sudo ip |[root@|root@|# ./",),
        speaks={CAPABILITY: -1.2, MEMLOCK: 0.8, LOCKDOWN: 0.6, SECCOMP: 0.3},
        means="It was run by root, who has the capabilities unless a container took them.",
        source="man 7 capabilities",
        needs=("operation not permitted|eperm",),
        unless=("privileged", "capab", "user namespace"),
    ),
    Rule(
        when=("@kernel<5.11",),
        speaks={MEMLOCK: 2},
        means="Up to 5.10 maps are charged to the limit of locked memory.",
        source="Linux kernel/bpf/syscall.c (until 5.10)",
        needs=("operation not permitted|eperm",),
        unless=("capab", "cap_", "privilege", "seccomp", "lockdown"),
    ),
    Rule(
        when=("docker|container|podman|kubernetes|k8s|pod |helm|daemonset|security-opt|lxd|lxc|nspawn",),
        speaks={SECCOMP: 1.6},
        means="perf_event_open in a container: the default profile refuses it.",
        source="moby profiles/seccomp/default.json",
        needs=("perf_event_open|perf events",),
    ),
    Rule(
        when=(
            "--cap-add|cap-add|cap_add|allowed commands|list of allowed|allowlist|deny list|allowed syscalls",
        ),
        speaks={SECCOMP: 2, CAPABILITY: -0.4},
        means="What the container's filter allows is the question; the capability alone doesn't change it.",
        source="moby profiles/seccomp/default.json; moby/moby#43163",
        needs=("perf_event_open|bpf|perfmon|performance counter|ptrace",),
    ),
    Rule(
        when=("enosys",),
        speaks={SECCOMP: 2.5},
        means="A filter answers ENOSYS or EPERM by which capabilities the container has.",
        source="containers/common#2534",
        needs=("eperm|cap_perfmon|cap_sys_admin|cap_bpf",),
        unless=("libbpf",),
    ),
    Rule(
        when=(
            "forbidden: |disallowed|denied by|not allowed in|not allowed; |cluster policy|is not allowed to",
        ),
        speaks={SECCOMP: 3.5},
        means="The platform's policy refuses the pod.",
        source="Kubernetes: admission control",
        needs=("container|pod|daemonset|privileged|hostpath|hostpid|namespace|securitycontext",),
    ),
    Rule(
        when=(
            "microsoft-standard-wsl|wsl2| wsl |android|openwrt",
            "yocto|buildroot|rockchip|gentoo|linuxkit|custom kernel",
        ),
        speaks={CONFIG: 1.6},
        means="A kernel that its vendor built with few options.",
        source="operators' words in public threads",
    ),
    Rule(
        when=("events/syscalls", "no tracepoint events|tracing/events is empty"),
        speaks={CONFIG: 3, "tracefs_debugfs_not_mounted": 0.5},
        means="One group of tracepoints is missing: an option of the kernel, if the others are there.",
        source="Linux kernel/trace/Kconfig, FTRACE_SYSCALLS",
        needs=("no such file|not found|not exist|enoent|no tracepoint",),
        unless=("failed to determine tracepoint",),
    ),
    Rule(
        when=(
            "ubuntu 14|ubuntu 16|ubuntu 18|ubuntu xenial|ubuntu bionic|centos 7|centos linux 7|rhel 7|el7",
            "debian 8|debian 9|debian 10|amzn1|amazon linux 1|opensuse leap 42|sles 12",
        ),
        speaks={OLD: 1.5},
        means="Distributions whose own kernel is older than 5.8.",
        source="distributions' release notes; solo-io/bumblebee#56",
        needs=(
            "invalid argument|einval|unknown func|invalid func|not supported|failed to create|map create",
        ),
    ),
)

#: Rank what is likely where no other row says much: by what was attempted.
PRIORS: tuple[Rule, ...] = (
    Rule(
        when=(
            "failed to attach|cannot attach|can't attach",
            "could not attach|error attaching|unable to attach|attaching",
        ),
        speaks={TARGET: 0.8, OLD: 0.5, CAPABILITY: 0.4},
        means="Attaching failed.",
        source="how often each cause was confirmed for it",
        needs=(FAILING,),
    ),
    Rule(
        when=(" load|loading|prog_load",),
        speaks={OLD: 0.7, TYPE: 0.5, CAPABILITY: 0.4, "other": 0.4},
        means="Loading failed.",
        source="how often each cause was confirmed for it",
        needs=(FAILING,),
        unless=("cpu", "load average"),
    ),
    Rule(
        when=(BPF,),
        speaks={"other": 0.6, OLD: 0.4, CAPABILITY: 0.4},
        means="Something about BPF failed.",
        source="how often each cause was confirmed",
        needs=(FAILING,),
    ),
    Rule(
        when=(
            "bpf|kprobe|uprobe|tracepoint|kernel|falco|cilium|tetragon|/sys/|/proc/|agent|daemonset",
            "error|fail|fatal|panic|crash|exception|timeout|warning|level=|trace",
        ),
        speaks={"other": 0.6, OLD: 0.1, CAPABILITY: 0.1},
        means="A log or a report that none of the rows knows.",
        source="how often each cause was confirmed",
    ),
)
