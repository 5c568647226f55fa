/* A small agent's BPF side, for the tests of the eyes: a ring, a hash, globals, a counter. */
#include <linux/types.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

struct record {
	__u64 words[8];
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 65536);
} sample_ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u64);
	__type(value, __u64);
} sample_hash SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} sample_percpu SEC(".maps");

const volatile __u32 only_tgid = 0;
volatile __u64 received;
volatile __u64 dropped;
volatile __u32 sample_n = 1;
volatile __s32 below_zero = -5;
volatile __u64 calls;

SEC("raw_tp/sys_enter")
int sample_enter(struct bpf_raw_tracepoint_args *ctx)
{
	__u32 zero = 0;
	__u64 before, *cell;
	struct record *record;

	if (!only_tgid || bpf_get_current_pid_tgid() >> 32 != only_tgid)
		return 0;
	cell = bpf_map_lookup_elem(&sample_percpu, &zero);
	if (cell)
		*cell += 1;
	before = calls; /* no fetching atomics: kernel 5.10 has none */
	__sync_fetch_and_add(&calls, 1);
	if (before % (sample_n ? sample_n : 1))
		return 0;
	record = bpf_ringbuf_reserve(&sample_ring, sizeof(*record), 0);
	if (!record) {
		__sync_fetch_and_add(&dropped, 1);
		return 0;
	}
	__sync_fetch_and_add(&received, 1);
	bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
	return 0;
}
