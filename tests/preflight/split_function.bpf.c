/* kprobe: compilers make finish_task_switch.isra.0 of it. */
#include "small.h"

SEC("kprobe/finish_task_switch")
int split_function(void *ctx)
{
	return 0;
}
