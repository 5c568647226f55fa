/* An index that nothing bounds. */
#include "bad.h"

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct entry);
} table SEC(".maps");

SEC("raw_tp/sys_enter")
int bad_bounds(struct bpf_raw_tracepoint_args *ctx)
{
	__u32 slot = 0;
	struct entry *found = bpf_map_lookup_elem(&table, &slot);

	return found ? found->bytes[ctx->args[1]] : 0;
}
