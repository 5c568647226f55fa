/* Reads task_struct.__state, which came with 5.14: fails before. */
#include "small.h"

SEC("raw_tp/sched_switch")
int new_field(__u64 *ctx)
{
	struct task_struct *task = (void *)ctx[1];

	return BPF_CORE_READ(task, __state) == 0;
}
