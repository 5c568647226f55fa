/* Reads task_struct.state, which 5.14 renamed: fails from there on. */
#include "small.h"

SEC("tp_btf/sched_switch")
int old_field(__u64 *ctx)
{
	struct task_struct___before_5_14 *task = (void *)ctx[1];

	return BPF_CORE_READ(task, state) == 0;
}
