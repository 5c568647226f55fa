/* SPDX-License-Identifier: GPL-2.0 */
/* A map of stacks, each of them of so many frames at most. */
#ifndef RUNBOOK_STACKS_H
#define RUNBOOK_STACKS_H

#include "kernel.h"

#define STACKS(name, frames, entries)                     \
	struct {                                          \
		__uint(type, BPF_MAP_TYPE_STACK_TRACE);   \
		__uint(max_entries, entries);             \
		__uint(key_size, sizeof(u32));            \
		__uint(value_size, frames * sizeof(u64)); \
	} name SEC(".maps")

#endif
