// SPDX-License-Identifier: GPL-2.0
/* Stacks at each tick of a CPU clock: of the target's threads, and of whoever runs its BPF programs.
 *
 * Read by cpu_profile.py. Other processes' stacks are kept only when one of the target's programs is in
 * them, by the addresses that its programs' code lies between. 1 to 4 us a tick; needs no BTF.
 */
#include "stacks.h"
#include "targets.h"
#include <linux/errno.h>

char LICENSE[] SEC("license") = "GPL";

#define FRAMES 127
#define FURTHER (1 << 24)
#define LOOKED_AT 32 /* frames of others in which the target's programs are looked for */

const volatile u64 programs_from = 0; /* code of the target's programs; both 0: not known */
const volatile u64 programs_to = 0;

struct place {
	u32 tgid; /* 0: another process, running one of the target's programs */
	u32 tid;
	s32 user; /* stack ids; negative: none; with FURTHER in the second map */
	s32 kernel;
};

struct seen {
	u64 samples;
	char comm[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct place);
	__type(value, struct seen);
} places SEC(".maps");

STACKS(stacks, FRAMES, 16384);
STACKS(further_stacks, FRAMES, 4096); /* for stacks whose slot above holds another one */

struct frames {
	u64 at[LOOKED_AT];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct frames);
} scratch SEC(".maps");

volatile u64 taken;	   /* samples kept */
volatile u64 without_room; /* samples whose place or stack found no room */
volatile u64 spent_ns;	   /* what the ticks themselves took */

static _Bool in_target_program(void *ctx)
{
	u32 first = 0;
	struct frames *frames = bpf_map_lookup_elem(&scratch, &first);
	long size;

	if (!frames || !programs_to)
		return 0;
	size = bpf_get_stack(ctx, frames, sizeof(*frames), 0);
	for (u32 i = 0; i < LOOKED_AT; i++) {
		if ((long)(i * sizeof(u64)) >= size)
			return 0;
		if (frames->at[i] >= programs_from && frames->at[i] < programs_to)
			return 1;
	}
	return 0;
}

static s32 stack_of(void *ctx, u64 flags)
{
	s32 id = bpf_get_stackid(ctx, &stacks, flags);

	if (id != -EEXIST)
		return id;
	id = bpf_get_stackid(ctx, &further_stacks, flags);
	return id < 0 ? id : id | FURTHER;
}

static void keep(void *ctx, struct place *place)
{
	struct seen fresh = { .samples = 1 }, *seen;

	place->kernel = stack_of(ctx, 0);
	if (place->user == -EEXIST || place->kernel == -EEXIST) {
		__sync_fetch_and_add(&without_room, 1);
		return;
	}
	seen = bpf_map_lookup_elem(&places, place);
	if (seen) {
		seen->samples++; /* a thread runs on one CPU at a time */
	} else {
		bpf_get_current_comm(fresh.comm, sizeof(fresh.comm));
		if (bpf_map_update_elem(&places, place, &fresh, BPF_ANY)) {
			__sync_fetch_and_add(&without_room, 1);
			return;
		}
	}
	__sync_fetch_and_add(&taken, 1);
}

SEC("perf_event")
int on_tick(void *ctx)
{
	u64 began = bpf_ktime_get_ns(), id = bpf_get_current_pid_tgid();
	struct place place = { .tgid = id >> 32, .tid = id, .user = -1 };

	if (is_target(place.tgid)) {
		place.user = stack_of(ctx, BPF_F_USER_STACK);
		keep(ctx, &place);
	} else if (in_target_program(ctx)) {
		place.tgid = 0;
		keep(ctx, &place);
	}
	__sync_fetch_and_add(&spent_ns, bpf_ktime_get_ns() - began);
	return 0;
}
