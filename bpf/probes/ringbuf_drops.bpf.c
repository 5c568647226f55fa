// SPDX-License-Identifier: GPL-2.0
/* Failed reserves and outputs of every ring buffer, by map id: what the kernel itself counts nowhere.
 *
 * Read by ../drops.py. Works to kernel 6.12: from 6.13 on these helpers can't be traced. Runs on every
 * reserve of the machine and costs about 20 ns there.
 */
#include "kernel.h"

char LICENSE[] SEC("license") = "GPL";

#define EAGAIN 11
/* A helper is compiled as a function of five registers; its result follows them. */
#define MAP 0
#define RESULT 5

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, u32);
	__type(value, u64);
} failures SEC(".maps");

static int failed(u64 map)
{
	u32 id = BPF_CORE_READ((struct bpf_map *)map, id);
	u64 one = 1, *count = bpf_map_lookup_elem(&failures, &id);

	if (!count && !bpf_map_update_elem(&failures, &id, &one, BPF_NOEXIST))
		return 0;
	count = bpf_map_lookup_elem(&failures, &id); /* another CPU was first, or it was there */
	if (count)
		__sync_fetch_and_add(count, 1);
	return 0;
}

SEC("fexit/bpf_ringbuf_reserve")
int on_reserve(u64 *ctx)
{
	return ctx[RESULT] ? 0 : failed(ctx[MAP]);
}

SEC("fexit/bpf_ringbuf_output")
int on_output(u64 *ctx)
{
	return (s64)ctx[RESULT] == -EAGAIN ? failed(ctx[MAP]) : 0;
}

/* Kernel 5.19. Fails with -EINVAL for lack of room as for a wrong size; the former is what happens. */
SEC("fexit/bpf_ringbuf_reserve_dynptr")
int on_reserve_dynptr(u64 *ctx)
{
	return ctx[RESULT] ? failed(ctx[MAP]) : 0;
}
