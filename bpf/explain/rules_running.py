"""Rules for an agent that runs: lost events, full and growing maps, memory, CPU.

Not here: measuring any of it on this host (``bpf.probes``, ``bpf.diagnoses.event_loss``).
"""

from __future__ import annotations

from bpf.explain.table import Rule

DROPS = "ringbuf_or_perfbuf_drops"
FULL = "map_full"
GROWTH = "map_unbounded_growth"
LEAK = "memory_leak_userspace"
OOM = "oom_kill"
CPU_USER = "high_cpu_userspace"
CPU_BPF = "high_cpu_bpf_prog"

RULES: tuple[Rule, ...] = (
    # ── lost events ──
    Rule(
        when=(
            " lost … events|samples|records|messages|packets|flows|data",
            "lost events|lost samples|lost records|lostsamples|lost_events|lostevents|lost_samples",
            "possibly lost",
            " drop|dropped|dropping|drops … event|sample|record|message|syscall|flows|packet",
            "event|sample|record|message|syscall|flow … drop|dropped|dropping|drops|lost",
            "skipped events|missed events|events missed|missing events|event loss|losing events|lose events",
            "loss of events|lost_",
            "n_drops|drops_buffer|drop rate|drop_count|drops_total|dropped_total|lost_total|dropcount",
            "scap_evts",
        ),
        speaks={DROPS: 4},
        means="Events are lost on their way to the agent.",
        source="bcc, cilium/ebpf perf.Record.LostSamples, Falco and Tetragon metrics",
    ),
    Rule(
        when=(
            "ring buffer|ringbuf|ring_buffer … full|drop|lost|overflow|overrun|overwhelm|reserve",
            "perf buffer|perfbuf|perf_buffer|perf ring … full|drop|lost|overflow|overrun|overwhelm|reserve",
            "ringbuffer|perfbuffer … full|drop|lost|overflow|overrun|overwhelm|reserve",
            "drop|lost|overflow|overrun … ring buffer|ringbuf|ring_buffer|perf buffer|perfbuf|perf_buffer",
            "drop|lost|overflow|overrun … perf ring",
            "ringbuf_reserve|ringbuf reserve|perf_submit|perf_event_output|page_cnt",
            "buffer … size|full|too small … drop|lost",
            "queue full|channel full|queue is full|channel is full|backpressure|slow consumer|slow reader",
            "buf_size_preset|cpus_for_each_buffer|perf-buffer-pages|--rb-size|rb-size|--perf-buffer",
        ),
        speaks={DROPS: 3},
        means="A buffer between the kernel and the reader is full when events come.",
        source="Linux kernel/bpf/ringbuf.c, bpf_ringbuf_reserve; libbpf perf_buffer",
    ),
    Rule(
        when=("@page-fault-drops",),
        speaks={"other": 5, DROPS: -1},
        means=(
            "All drops are page faults while arguments were read: the buffer was never full, a bigger "
            "one changes nothing."
        ),
        source="Falco documentation, dropped events; falcosecurity/falco#1403",
        fix="none by buffer size; newer agent versions read such arguments again",
    ),
    # ── full maps ──
    Rule(
        when=(
            "no space left in map|no more space in map|map is full|map full|maps are full|full map",
            "map … is full",
            "map … full",
            "table is full|table full|max entries reached|max_entries reached|maximum number of entries",
            "maximum entries",
            "hash table … full",
            "cache … full",
            "map insertion failed|map insert failed|ct: map insertion",
            "nat … failed",
            "map pressure|map_pressure|bpf_map_pressure|map utilization|map capacity",
            "max_entries … exceed|reached|limit",
            "unable to update element|map update|update element|map_update|put element",
            "failed to update … map",
            "update … map … failed",
            "updating … map",
        ),
        speaks={FULL: 3.5},
        means="A map holds as many elements as it may.",
        source="Linux kernel/bpf/hashtab.c, alloc_htab_elem (E2BIG)",
    ),
    Rule(
        when=("argument list too long|e2big|no space left on device|enospc|key too big for map",),
        speaks={FULL: 3.5},
        means="E2BIG on updating a map means that it is full.",
        source="Linux kernel/bpf/hashtab.c, alloc_htab_elem; projectcalico/calico#6935",
        needs=("updat|put |insert|add entry|adding|set element|upsert|write to map|lookup or init",),
        unless=("prog_load|load program|program load|verifier",),
    ),
    # ── maps that grow ──
    Rule(
        when=(
            "map … grow|grows|growing|grew|increase|increasing|unbounded|leak|leaking|leaks|stale",
            "map … never deleted|never removed",
            "entries … never|not deleted|not removed|not cleaned|stale|leak|leaked|accumulate|remain",
            "map … filled within|fills up|keeps filling",
            "without deleting|not deleting|never deletes|are not removed|remain in the map|remain in @",
            "keys will remain|keys remain",
            "map entries … not being removed|not removed|not deleted",
            "unable to delete|failed to delete|cannot delete … map entr|from the bpf map",
            "stale entries|leaked entries|dead pids|orphaned entries|orphan entries|map leak|leaking map",
            "map entries leak",
            "elements … leak|never|stale|cleanup|clean up|garbage",
        ),
        speaks={GROWTH: 3.5},
        means="Elements are put into a map and not taken out again.",
        source="DataDog/datadog-agent#34586, projectcalico/calico#6935",
    ),
    Rule(
        when=(
            "never decreas|never shrink|only increas|continues to increase|continue to increase",
            "keeps increasing|keep increasing|keeps growing|keep growing|never be deleted|never be removed",
            "don't clean|doesn't clean|do not clean|does not clean|isn't cleaned|unbounded growth",
            "grow unbounded|grows unbounded|grow without bound|grows without bound|growing without bound",
            "never be reclaimed|never reclaimed|never freed from the map|removal is missed|leaked entries",
        ),
        speaks={GROWTH: 4, FULL: -2},
        means="The map got full because elements never leave it: a larger one only lasts longer.",
        source="projectcalico/calico#6935, javierhonduco/lightswitch#379",
        needs=(" map| maps|bpf_map|hash table|entries",),
        unless=("memory leak", "rss"),
    ),
    Rule(
        when=("pids|pid map|per-pid|connections map|process map|tgid",),
        speaks={GROWTH: 1.5},
        means="A map with an element per process fills only when those of dead processes stay.",
        source="grafana/pyroscope#2769",
        needs=("key too big for map|map is full|no space|argument list too long",),
    ),
    Rule(
        when=("lru|bpf_map_type_lru_hash|evict|garbage collect|cleanup|clean up",),
        speaks={GROWTH: 1, FULL: 0.6},
        means="How elements leave a map is named.",
        source="Linux kernel/bpf/bpf_lru_list.c",
        needs=("map",),
    ),
    # ── memory ──
    Rule(
        when=(
            "memory leak|memleak|leaking memory|leaks memory|leak memory|goroutine leak",
            "memory|rss|heap|vmrss … grow|grows|growing|grew|increase|increases|increasing|climb|climbs",
            "memory|rss|heap|vmrss … leak|leaks|unbounded|keeps|steadily|continuous",
            "inuse_space|heap profile|alloc_space|inuse_objects",
            "pprof … heap",
            "heap … pprof",
            "growing|increasing|steadily|continuous … memory|rss|heap",
            "grow|increas|climb|leak … until … oom|out of memory|killed|limit",
        ),
        speaks={LEAK: 4},
        means="The memory of the agent's own process grows.",
        source="cilium/tetragon#1485, falcosecurity/falco#3643",
    ),
    Rule(
        when=(
            "oomkill|oom-kill|oom_kill|oom kill|oom killed|oom killer|oomed|oom'd|oom event| ooms ",
            "out of memory: kill|memory cgroup out of memory",
            "out of memory … killed process",
            "killed process … total-vm",
            "exit code 137|exit code: 137|exitcode: 137|exited with 137|signal 9|sigkill|exit status 137",
            "reason: oom",
        ),
        speaks={OOM: 6},
        means="The kernel killed the agent for memory: the cgroup's limit, or the host's.",
        source="Linux mm/oom_kill.c; Kubernetes: container states",
    ),
    Rule(
        when=("memory consumption|memory usage|memory footprint|resident memory|of memory|memory use",),
        speaks={LEAK: 2.5, OOM: 0.3},
        means="It is about the memory that the agent takes.",
        source="falcosecurity/falco#3664",
        unless=("allocate memory",),
    ),
    Rule(
        when=(
            "out of memory|memory limit|memory.max|container_memory",
            "limits … memory",
            "memory … limit",
        ),
        speaks={OOM: 2, LEAK: 0.6},
        means="A limit of memory is named.",
        source="Linux Documentation/admin-guide/cgroup-v2.rst",
    ),
    Rule(
        when=(
            "refcnt|reference count|never freed|not freed|not released|never released",
            "in the cache|process cache|event cache|cache size|cache entries",
        ),
        speaks={LEAK: 2.2, GROWTH: 0.8},
        means="Objects stay in the agent's own cache.",
        source="cilium/tetragon#4698",
        unless=("dropped|lost",),
    ),
    # ── CPU ──
    Rule(
        when=(
            "system mode usage|% system|kernel mode|sys mode|system usage| cpu usage|cpu result|cpu used",
            "bpf cpu|high cpu|cpu usage|cpu utilization|cpu utilisation|100% cpu|cpu 100|cpu consumption",
            "cpu load|cpu time|cpu overhead|cpu spike|% cpu|%cpu|full core|one core|cpu core|cpu throttl",
        ),
        speaks={CPU_USER: 3, CPU_BPF: 2.4},
        means="The agent, or what it put into the kernel, takes much CPU.",
        source="grafana/beyla#1778, cilium/tetragon#3428",
    ),
    Rule(
        when=("bottleneck|codepath|code path|hot path|expensive|slow start|startup time|profiled|flame",),
        speaks={CPU_USER: 2.2, CPU_BPF: 0.8},
        means="It is about where the time goes.",
        source="grafana/beyla#1778",
        unless=("lost|dropped|drops",),
    ),
    Rule(
        when=(
            "busy loop|busy wait|busy-loop|busy-wait|busyloop|busy poll|spinning|tight loop|spins|epoll_wait",
            "goroutine|pprof|flamegraph|flame graph|runtime.|symbol|parsing|regex|json|garbage collector",
            "gc |rules|user space|userspace|user-space|thread",
            "/proc scan|scanning /proc|polling|polls",
        ),
        speaks={CPU_USER: 2},
        means="It is the agent's own code in user space.",
        source="falcosecurity/falco#3610, deepflowio/deepflow#8995",
        needs=("cpu",),
    ),
    Rule(
        when=(
            "bpf cpu|bpf overhead|bpf_prog_|run_time_ns|run_cnt|bpftop|bpf_stats|bpf stats",
            "bpf_stats_enabled|__bpf_|bpf_get_|bpf_probe_read|htab_map",
            "system mode|% system|sys mode|kprobe:*|ksoftirqd|softirq|kernel space|kernel time|system cpu",
            "%sys|sys usage|% sy |% si |%si ",
            "system time|sys time|in kernel|sys_exit|sys_enter|raw_syscalls|context switch|sched_switch",
            "per packet|per-packet|every packet|every syscall|each syscall|tracepoint|kprobe|hook",
            "bpf program|ebpf program|xdp|tc program",
        ),
        speaks={CPU_BPF: 2},
        means="It is a BPF program that runs often, or long.",
        source="sustainable-computing-io/kepler#1611, cilium/tetragon#3428",
        needs=("cpu|perf top|overhead|latency|slow|usage",),
    ),
)
