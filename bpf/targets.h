/* SPDX-License-Identifier: GPL-2.0 */
/* The processes that a program of ours looks at, named by who loads it. */
#ifndef RUNBOOK_TARGETS_H
#define RUNBOOK_TARGETS_H

#include "kernel.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, u32);
	__type(value, u32);
} targets SEC(".maps");

static inline _Bool is_target(u32 tgid)
{
	return bpf_map_lookup_elem(&targets, &tgid) != NULL;
}

#endif
