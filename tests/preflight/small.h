/* SPDX-License-Identifier: GPL-2.0 */
/* The kernel's structures as one kernel or another has them; names after ___ are flavours. */
#ifndef SMALL_H
#define SMALL_H
#include <linux/types.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#define READ __attribute__((preserve_access_index))

struct task_struct {
	int pid;
	int prio;
	unsigned int __state;
	char comm[16];
} READ;

struct task_struct___before_5_14 {
	long state;
} READ;

char LICENSE[] SEC("license") = "GPL";
#endif
