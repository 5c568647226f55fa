/* bpf_loop where the kernel has it: works everywhere. */
#include "small.h"

enum bpf_func_id___mine {
	BPF_FUNC_loop___mine = 9999,
};

static long step(__u32 index, void *context)
{
	return 0;
}

SEC("raw_tp/sys_enter")
int guarded_helper(void *ctx)
{
	if (bpf_core_enum_value_exists(enum bpf_func_id___mine, BPF_FUNC_loop___mine))
		bpf_loop(10, step, 0, 0);
	return 0;
}
