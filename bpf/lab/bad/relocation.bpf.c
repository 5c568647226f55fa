/* A field that no kernel has: the relocation finds no place for it. */
#include "bad.h"

#include <bpf/bpf_core_read.h>

char LICENSE[] SEC("license") = "GPL";

struct task_struct {
	int field_of_another_kernel;
} __attribute__((preserve_access_index));

SEC("raw_tp/sys_enter")
int bad_relocation(void *ctx __attribute__((unused)))
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();

	return BPF_CORE_READ(task, field_of_another_kernel);
}
