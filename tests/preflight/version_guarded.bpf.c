/* Decides by the kernel's version: works everywhere. */
#include "small.h"
#include <linux/version.h>

extern int LINUX_KERNEL_VERSION __kconfig;

SEC("raw_tp/sched_switch")
int version_guarded(__u64 *ctx)
{
	struct task_struct *task = (void *)ctx[1];
	struct task_struct___before_5_14 *old = (void *)task;

	if (LINUX_KERNEL_VERSION >= KERNEL_VERSION(5, 14, 0))
		return BPF_CORE_READ(task, __state) == 0;
	return BPF_CORE_READ(old, state) == 0;
}
