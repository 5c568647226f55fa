// SPDX-License-Identifier: GPL-2.0
/* Programs that every verifier refuses, one kind per build: -DNULL_CHECK and so on. */
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

#if defined(NO_LICENCE)
char LICENSE[] SEC("license") = "Proprietary";
#else
char LICENSE[] SEC("license") = "GPL";
#endif

/* No array: newer verifiers know that a constant index in one is never missing. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64[8]);
} table SEC(".maps");

#define PROGRAM(name) SEC("raw_tp/sys_enter") int name(void *ctx)

#if defined(NULL_CHECK)
PROGRAM(null_check)
{
	__u32 zero = 0;
	__u64 *value = bpf_map_lookup_elem(&table, &zero);

	return *value;
}
#elif defined(BOUNDS)
PROGRAM(bounds)
{
	__u32 zero = 0;
	__u64 *value = bpf_map_lookup_elem(&table, &zero);

	return value ? value[bpf_get_prandom_u32()] : 0;
}
#elif defined(UNINITIALISED)
PROGRAM(uninitialised)
{
	__u64 value;

	asm volatile("%0 = r7" : "=r"(value));
	return value;
}
#elif defined(ENDLESS_LOOP)
PROGRAM(endless_loop)
{
	__u64 random = bpf_get_prandom_u32();

	while (random)
		asm volatile("" ::: "memory");
	return 0;
}
#elif defined(WRONG_HELPER)
PROGRAM(wrong_helper)
{
	__u64 room = 0;

	return bpf_skb_load_bytes(ctx, 0, &room, sizeof(room));
}
#elif defined(DEEP_STACK)
PROGRAM(deep_stack)
{
	asm volatile("r1 = 0; *(u64 *)(r10 - 520) = r1" ::: "r1", "memory");
	return 0;
}
#elif defined(NO_LICENCE)
PROGRAM(no_licence)
{
	__u64 room;

	return bpf_probe_read_kernel(&room, sizeof(room), ctx);
}
#endif
