/* A loop without a bound: each turn is like the one before. */
#include "bad.h"

char LICENSE[] SEC("license") = "GPL";

SEC("raw_tp/sys_enter")
int bad_loop(struct bpf_raw_tracepoint_args *ctx)
{
	while (bpf_get_prandom_u32() != (__u32)ctx->args[1])
		;
	return 0;
}
