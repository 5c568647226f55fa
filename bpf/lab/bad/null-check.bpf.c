/* A lookup's result used without asking whether there was one. */
#include "bad.h"

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, __u64);
	__type(value, struct entry);
} cache SEC(".maps");

SEC("raw_tp/sys_enter")
int bad_null_check(struct bpf_raw_tracepoint_args *ctx)
{
	__u64 key = ctx->args[1];
	struct entry *known = bpf_map_lookup_elem(&cache, &key);

	known->bytes[0] += 1;
	return 0;
}
