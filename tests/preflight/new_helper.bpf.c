/* bpf_loop came with 5.17. */
#include "small.h"

static long step(__u32 index, void *context)
{
	return 0;
}

SEC("raw_tp/sys_enter")
int new_helper(void *ctx)
{
	bpf_loop(10, step, 0, 0);
	return 0;
}
