/* What the agent offers and can do without: a fingerprint of each watched call, counted.
 *
 * A program and a link of its own, so that it can be taken away from a running agent. It looks at what
 * the main program looks at, through the same map of filters.
 *
 * Not here: anything that the agent's events depend on. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "event.h"

#define ROUND 512
#define MOST_ROUNDS 32
#define FINGERPRINTS 256

char LICENSE[] SEC("license") = "GPL";

volatile __u64 optional_rounds = 0;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct filter_key);
	__type(value, __u8);
} filters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, FINGERPRINTS);
	__type(key, __u32);
	__type(value, __u64);
} fingerprints SEC(".maps");

/* A function of its own, which the verifier looks at once and not once per round. */
__attribute__((noinline)) __u64 mix(__u64 state)
{
	for (int i = 0; i < ROUND; i++) {
		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
	}
	return state;
}

SEC("raw_tp/sys_enter")
int lab_optional(struct bpf_raw_tracepoint_args *ctx)
{
	struct filter_key key = {.kind = FILTER_COMM};
	__u64 rounds = optional_rounds, state = ctx->args[1] | 1, *times;
	__u32 slot;

	bpf_get_current_comm(key.comm, sizeof(key.comm));
	if (!bpf_map_lookup_elem(&filters, &key))
		return 0;
	for (__u64 round = 0; round < MOST_ROUNDS && round < rounds; round++)
		state = mix(state);
	slot = state % FINGERPRINTS;
	times = bpf_map_lookup_elem(&fingerprints, &slot);
	if (times)
		++*times;
	return 0;
}
