/* A helper for packets, in a program that sees none. */
#include "bad.h"

char LICENSE[] SEC("license") = "GPL";

SEC("raw_tp/sys_enter")
int bad_helper(struct bpf_raw_tracepoint_args *ctx)
{
	char first = 0;

	bpf_skb_load_bytes(ctx, 0, &first, sizeof(first));
	return first;
}
