/* Reads either, and asks first: works everywhere. */
#include "small.h"

SEC("tp_btf/sched_switch")
int guarded_field(__u64 *ctx)
{
	struct task_struct *task = (void *)ctx[1];
	struct task_struct___before_5_14 *old = (void *)task;

	if (bpf_core_field_exists(task->__state))
		return BPF_CORE_READ(task, __state) == 0;
	return BPF_CORE_READ(old, state) == 0;
}
