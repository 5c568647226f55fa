/* sched_switch passes a fourth argument since 5.18. */
#include "small.h"

SEC("tp_btf/sched_switch")
int more_arguments(__u64 *ctx)
{
	return ctx[3] == 0;
}
