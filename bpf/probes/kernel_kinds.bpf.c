// SPDX-License-Identifier: GPL-2.0
/* One program of each kind that does nothing: whether it can be attached tells what this kernel allows.
 *
 * Used by kernel_kinds.py, one program at a time. The function is the kernel's own test function, which
 * nothing calls.
 */
#include "kernel.h"

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2);
	__type(key, u32);
	__type(value, u32);
} small SEC(".maps");

SEC("raw_tp/sched_process_exit")
int raw_tracepoint(void *ctx)
{
	return 0;
}

SEC("tp_btf/sched_process_exit")
int tp_btf(void *ctx)
{
	return 0;
}

SEC("fentry/bpf_fentry_test1")
int fentry(void *ctx)
{
	return 0;
}

SEC("fexit/bpf_fentry_test1")
int fexit(void *ctx)
{
	return 0;
}

SEC("kprobe/bpf_fentry_test1")
int kprobe(void *ctx)
{
	return 0;
}

SEC("iter/bpf_map")
int iterator(struct bpf_iter__bpf_map *ctx)
{
	return 0;
}

SEC("lsm/bpf_map")
int lsm(void *ctx)
{
	return 0;
}
