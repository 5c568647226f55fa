/* Storage at tasks, a map type of 5.11. */
#include "small.h"

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, __u64);
} storage SEC(".maps");

SEC("tp_btf/sched_switch")
int task_storage(__u64 *ctx)
{
	struct task_struct *task = (void *)ctx[1];
	__u64 *value = bpf_task_storage_get(&storage, task, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);

	return value ? 0 : 1;
}
