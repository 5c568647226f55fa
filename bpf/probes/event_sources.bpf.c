// SPDX-License-Identifier: GPL-2.0
/* Who causes the events at one tracepoint: a count per process, and per system call where it is one.
 *
 * Read by event_sources.py. Loaded once per attach point that is watched. Costs 30 to 60 ns per event.
 */
#include "kernel.h"

char LICENSE[] SEC("license") = "GPL";

#define POINT_OTHER 0
#define POINT_SYS_ENTER 1
#define POINT_SYS_EXIT 2
#define WANTED_WORDS 16 /* 1024 system calls */

const volatile u32 point = POINT_OTHER;
const volatile u32 only_wanted = 0;
const volatile u64 wanted[WANTED_WORDS] = {};

struct source {
	u32 tgid;
	u32 call; /* number of the system call; ~0 elsewhere */
};

struct tally {
	u64 events;
	u32 uid;
	char comm[16];
	u32 unused;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct source);
	__type(value, struct tally);
} tallies SEC(".maps");

volatile u64 not_counted; /* events of sources that found no room */

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
#if defined(__TARGET_ARCH_x86)
struct pt_regs {
	unsigned long orig_ax;
};
#define CALL_OF(regs) BPF_CORE_READ(regs, orig_ax)
#else
struct pt_regs {
	s32 syscallno;
};
#define CALL_OF(regs) BPF_CORE_READ(regs, syscallno)
#endif
#pragma clang attribute pop

static int count(u32 call)
{
	struct source source = { .tgid = bpf_get_current_pid_tgid() >> 32, .call = call };
	struct tally fresh = {}, *tally;

	tally = bpf_map_lookup_elem(&tallies, &source);
	if (tally && tally->events) {
		tally->events++;
		return 0;
	}
	/* The first one on this CPU; other CPUs' parts of a new element are zero. */
	fresh.events = 1;
	fresh.uid = bpf_get_current_uid_gid();
	bpf_get_current_comm(fresh.comm, sizeof(fresh.comm));
	if (tally)
		*tally = fresh;
	else if (bpf_map_update_elem(&tallies, &source, &fresh, BPF_ANY))
		__sync_fetch_and_add(&not_counted, 1);
	return 0;
}

static _Bool is_wanted(u32 call)
{
	u32 word = call / 64;

	if (call >= WANTED_WORDS * 64)
		return 0;
	barrier_var(word); /* else the compiler leaves the mask out, and verifiers can't follow its reasons */
	return wanted[word & (WANTED_WORDS - 1)] >> call % 64 & 1;
}

SEC("raw_tp")
int on_event(struct bpf_raw_tracepoint_args *ctx)
{
	u32 call = ~0U;

	if (point == POINT_SYS_ENTER)
		call = ctx->args[1];
	else if (point == POINT_SYS_EXIT)
		call = CALL_OF((struct pt_regs *)ctx->args[0]);
	if (only_wanted && !is_wanted(call))
		return 0;
	return count(call);
}

SEC("kprobe")
int on_function(void *ctx)
{
	return count(~0U);
}
