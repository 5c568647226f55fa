/* A bit field, read with shifts that CO-RE writes. */
#include "small.h"

struct task_struct___bits {
	unsigned in_execve : 1;
} READ;

SEC("tp_btf/sched_switch")
int bit_field(__u64 *ctx)
{
	struct task_struct___bits *task = (void *)ctx[1];

	return BPF_CORE_READ_BITFIELD_PROBED(task, in_execve);
}
