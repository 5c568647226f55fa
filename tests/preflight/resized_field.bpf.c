/* Takes a field for a longer, signed one, and reads it directly: refused everywhere. */
#include "small.h"

struct task_struct___wrong {
	long long prio;
} READ;

SEC("tp_btf/sched_switch")
int resized_field(__u64 *ctx)
{
	struct task_struct___wrong *task = (void *)ctx[1];

	return task->prio > 100;
}
