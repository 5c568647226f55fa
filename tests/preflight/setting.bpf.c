/* Reads the new name only with a setting that is off: loads as it is, may fail as it is used. */
#include "small.h"

const volatile int use_new = 0;

SEC("raw_tp/sched_switch")
int setting(__u64 *ctx)
{
	struct task_struct *task = (void *)ctx[1];

	if (use_new)
		return BPF_CORE_READ(task, __state) == 0;
	return 0;
}
