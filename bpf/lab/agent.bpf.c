/* One record per system call that passes the filters, into a ring the agent can exchange while we run.
 *
 * The ring hangs in the single slot of an array of maps: user space makes a new one and puts it there,
 * and once that update returns no program writes into the old one (the kernel waits for running
 * programs). Works from kernel 5.10 on; no atomic operation here uses its result (5.12+).
 *
 * Not here: any decision that user space can make. */
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <stdbool.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "event.h"
#include "kernel.h"

char LICENSE[] SEC("license") = "GPL";

/* Settings; the agent, and anyone who finds them through BTF, may store into them at any time. */
volatile __u64 sample_n = 0;	   /* keep one event in this many; 0 and 1 keep all */
volatile __u64 filters_in_use = 0; /* bits of enum filter_kind */
volatile __u64 wakeup = 0;	   /* enum wakeup_policy */
volatile __u64 wakeup_bytes = 0;
volatile __u64 cache_on = 0;
volatile __u64 payloads_on = 0;

/* Counters; only ever added to. */
volatile __u64 matched = 0;	 /* events that passed the filters, before sampling */
volatile __u64 received = 0;	 /* events put into the ring */
volatile __u64 dropped = 0;	 /* events for which the ring had no room */
volatile __u64 cache_failed = 0; /* cache entries that could not be added */

struct ring {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct ring);
} rings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct filter_key);
	__type(value, __u8);
} filters SEC(".maps");

/* Size and kind are set by the agent before loading. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct cache_key);
	__type(value, struct cache_entry);
} cache SEC(".maps");

/* Few entries, much memory; as many as the agent says. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct cache_key);
	__type(value, struct payload);
} payloads SEC(".maps");

static const struct payload no_payload = {}; /* too large for the stack */

static __always_inline bool listed(struct filter_key *key, __u64 kind)
{
	key->kind = kind;
	return bpf_map_lookup_elem(&filters, key) != NULL;
}

static __always_inline bool passes(struct filter_key *key, __u64 include, __u64 exclude)
{
	__u64 in_use = filters_in_use;

	if (in_use & (1ULL << include) && !listed(key, include))
		return false;
	return !(in_use & (1ULL << exclude) && listed(key, exclude));
}

static __always_inline bool wanted(struct event *event)
{
	struct filter_key key = {};

	__builtin_memcpy(key.comm, event->comm, COMM_BYTES);
	if (!passes(&key, FILTER_COMM, FILTER_EXCLUDE_COMM))
		return false;
	key.zero = 0;
	key.number = event->syscall;
	if (!passes(&key, FILTER_SYSCALL, FILTER_EXCLUDE_SYSCALL))
		return false;
	key.number = event->pid;
	if (!passes(&key, FILTER_PID, FILTER_EXCLUDE_PID))
		return false;
	key.number = event->uid;
	return passes(&key, FILTER_UID, FILTER_EXCLUDE_UID);
}

static __always_inline void keep_payload(const struct event *event)
{
	struct cache_key key = {.pid = event->pid, .argument = event->argument};

	if (!bpf_map_lookup_elem(&payloads, &key))
		bpf_map_update_elem(&payloads, &key, &no_payload, BPF_NOEXIST);
}

static __always_inline void remember(const struct event *event)
{
	struct cache_key key = {.pid = event->pid, .argument = event->argument};
	struct cache_entry *known = bpf_map_lookup_elem(&cache, &key);
	struct cache_entry fresh = {.last_ns = event->time_ns, .count = 1};

	if (known) {
		known->last_ns = event->time_ns;
		__sync_fetch_and_add(&known->count, 1);
	} else if (bpf_map_update_elem(&cache, &key, &fresh, BPF_ANY)) {
		__sync_fetch_and_add(&cache_failed, 1);
	}
}

static __always_inline __u64 wakeup_flags(void *ring)
{
	switch (wakeup) {
	case WAKEUP_NONE:
		return BPF_RB_NO_WAKEUP;
	case WAKEUP_FORCE:
		return BPF_RB_FORCE_WAKEUP;
	case WAKEUP_EVERY:
		return bpf_ringbuf_query(ring, BPF_RB_AVAIL_DATA) >= wakeup_bytes ? BPF_RB_FORCE_WAKEUP
										  : BPF_RB_NO_WAKEUP;
	default:
		return 0;
	}
}

static __always_inline void describe(struct event *event, struct bpf_raw_tracepoint_args *ctx)
{
	struct pt_regs *registers = (struct pt_regs *)ctx->args[0];
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();

	event->time_ns = bpf_ktime_get_ns();
	event->cpu = bpf_get_smp_processor_id();
	event->parent = BPF_CORE_READ(task, real_parent, tgid);
	bpf_probe_read_kernel(&event->argument, sizeof(event->argument), &PT_REGS_PARM1(registers));
}

SEC("raw_tp/sys_enter")
int on_syscall(struct bpf_raw_tracepoint_args *ctx)
{
	struct event event = {.syscall = (__s64)ctx->args[1]};
	__u64 pid_tid = bpf_get_current_pid_tgid(), uid_gid = bpf_get_current_uid_gid(), one_in = sample_n;
	__u32 slot = 0;
	void *ring;

	event.pid = pid_tid >> 32;
	event.tid = (__u32)pid_tid;
	event.uid = (__u32)uid_gid;
	event.gid = uid_gid >> 32;
	bpf_get_current_comm(event.comm, sizeof(event.comm));
	if (!wanted(&event))
		return 0;
	__sync_fetch_and_add(&matched, 1);
	if (one_in > 1 && bpf_get_prandom_u32() % one_in)
		return 0;

	ring = bpf_map_lookup_elem(&rings, &slot);
	if (!ring)
		return 0;
	describe(&event, ctx);
	if (cache_on)
		remember(&event);
	if (payloads_on)
		keep_payload(&event);
	if (bpf_ringbuf_output(ring, &event, sizeof(event), wakeup_flags(ring)))
		__sync_fetch_and_add(&dropped, 1);
	else
		__sync_fetch_and_add(&received, 1);
	return 0;
}
