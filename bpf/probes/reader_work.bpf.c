// SPDX-License-Identifier: GPL-2.0
/* What the threads of a target do between events: system calls, waits that end with nothing, sleep, and
 * ticks of a CPU clock at which its rings were empty.
 *
 * Read by reader_work.py. While it is loaded each end of a system call of the machine costs up to 45 ns, a
 * switch or a wake-up 75 to 100 ns, as run statistics have it.
 */
#include "targets.h"

char LICENSE[] SEC("license") = "GPL";

#define CALLS 1024
/* Awake is a thread that slept for less than a fiftieth of such a time: not for lack of events, but for a lock. */
#define AWAKE_NS 50000000ULL
#define AWAKE_PARTS 50
#define WAIT_POLL 1	     /* gives 0 when the time was up */
#define WAIT_SLEEP 2	     /* gives 0: it only ever waits for time */
#define WAIT_FUTEX 3	     /* gives ETIMEDOUT */
#define FUTEX_COMMAND 0x7f
#define FUTEX_WAIT 0
#define FUTEX_WAIT_BITSET 9
#define ETIMEDOUT 110

const volatile u32 rings = 0;		   /* how many of the maps below are the target's */
const volatile u8 waits[CALLS] = {};	   /* system call -> WAIT_… */

struct call {
	u64 made;
	u64 waited; /* waits that ended */
	u64 empty;  /* of these with nothing to do */
};

struct thread {
	u32 tgid;
	u32 asleep;   /* it went to sleep by itself and has not run since */
	u32 nothing;  /* its last wait ended with nothing */
	u32 awake;    /* as of the last time that was judged */
	u64 since;    /* from when it is judged next */
	u64 slept_ns; /* since then */
	u64 off_at;   /* when it went to sleep */
	u64 woken_at; /* when it was woken; it may have to wait for a CPU then */
	u64 on_at;    /* when it came on its CPU; 0: it is off */
	u64 ran_ns;   /* since it woke */
	u64 position; /* of the target's rings when last looked */
	u64 moved;    /* bytes read from the rings since it woke */
	u64 read_bytes; /* read from the rings while it was on a CPU */
	u64 sleeps;
	u64 asked_ns; /* ran after a wait with nothing, read nothing and slept again */
	u64 ran_total_ns;
	u64 ticks;
	u64 awake_ticks;
	u64 spinning_ticks; /* of these with all rings empty */
	char comm[16];
};

#define ANY_RING(name)                          \
	struct {                                \
		__uint(type, BPF_MAP_TYPE_RINGBUF); \
		__uint(max_entries, 4096);      \
	} name SEC(".maps")

/* The target's own rings are put in their place before loading; asked only how full they are. */
ANY_RING(ring_0);
ANY_RING(ring_1);
ANY_RING(ring_2);
ANY_RING(ring_3);

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, u32);
	__type(value, struct thread);
} threads SEC(".maps");

/* A hash: of per-CPU types kernels before 5.13 give only these in batches. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, CALLS);
	__type(key, u32);
	__type(value, struct call);
} calls SEC(".maps");

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct task_struct___5_14 {
	unsigned int __state;
};

struct task_struct___before {
	volatile long state;
};

#if defined(__TARGET_ARCH_x86)
struct pt_regs {
	unsigned long orig_ax;
	unsigned long si;
};
#define CALL_OF(regs) BPF_CORE_READ(regs, orig_ax)
#define SECOND_ARGUMENT(regs) BPF_CORE_READ(regs, si)
#else
struct pt_regs {
	u64 regs[31];
	s32 syscallno;
};
#define CALL_OF(regs) BPF_CORE_READ(regs, syscallno)
#define SECOND_ARGUMENT(regs) BPF_CORE_READ(regs, regs[1])
#endif
#pragma clang attribute pop

static u64 asked(u64 what)
{
	u64 sum = 0;

	if (rings > 0)
		sum += bpf_ringbuf_query(&ring_0, what);
	if (rings > 1)
		sum += bpf_ringbuf_query(&ring_1, what);
	if (rings > 2)
		sum += bpf_ringbuf_query(&ring_2, what);
	if (rings > 3)
		sum += bpf_ringbuf_query(&ring_3, what);
	return sum;
}

/* The thread's row; made when it is first seen, as if it had begun then. */
static struct thread *row_of(u32 tid, u32 tgid, u64 now)
{
	struct thread *thread = bpf_map_lookup_elem(&threads, &tid);
	struct thread fresh = { .tgid = tgid, .since = now, .on_at = now };

	if (thread)
		return thread;
	fresh.position = asked(BPF_RB_CONS_POS);
	bpf_map_update_elem(&threads, &tid, &fresh, BPF_NOEXIST);
	return bpf_map_lookup_elem(&threads, &tid);
}

/* Credit it with what was read from the rings while it was on its CPU. */
static void credit(struct thread *thread)
{
	u64 position = asked(BPF_RB_CONS_POS);
	u64 moved = position - thread->position;

	thread->position = position;
	thread->read_bytes += moved;
	thread->moved += moved;
}

static void on(struct thread *thread, u64 now)
{
	thread->on_at = now;
	thread->position = asked(BPF_RB_CONS_POS);
	if (!thread->asleep)
		return;
	thread->asleep = 0;
	thread->slept_ns += (thread->woken_at > thread->off_at ? thread->woken_at : now) - thread->off_at;
	thread->ran_ns = 0;
	thread->moved = 0;
	thread->nothing = 0; /* until its wait ends and tells */
}

static void off(struct thread *thread, u64 now, _Bool sleeps)
{
	u64 ran = thread->on_at ? now - thread->on_at : 0;

	credit(thread);
	thread->on_at = 0;
	thread->ran_ns += ran;
	thread->ran_total_ns += ran;
	bpf_get_current_comm(thread->comm, sizeof(thread->comm));
	if (!sleeps)
		return;
	if (thread->nothing && !thread->moved && !thread->awake)
		thread->asked_ns += thread->ran_ns;
	thread->sleeps++;
	thread->asleep = 1;
	thread->off_at = now;
}

static _Bool goes_to_sleep(struct task_struct *task)
{
	struct task_struct___5_14 *newer = (void *)task;
	struct task_struct___before *older = (void *)task;

	if (bpf_core_field_exists(newer->__state))
		return BPF_CORE_READ(newer, __state) != 0;
	return BPF_CORE_READ(older, state) != 0;
}

SEC("raw_tp/sched_switch")
int on_switch(struct bpf_raw_tracepoint_args *ctx)
{
	u64 id = bpf_get_current_pid_tgid();
	struct task_struct *next = (void *)ctx->args[2];
	u32 tgid = BPF_CORE_READ(next, tgid);
	struct thread *thread;
	u64 now;

	if (is_target(id >> 32)) {
		now = bpf_ktime_get_ns();
		thread = row_of(id, id >> 32, now);
		if (thread)
			off(thread, now, !ctx->args[0] && goes_to_sleep((void *)ctx->args[1]));
	}
	if (is_target(tgid)) {
		now = bpf_ktime_get_ns();
		thread = row_of(BPF_CORE_READ(next, pid), tgid, now);
		if (thread)
			on(thread, now);
	}
	return 0;
}

SEC("raw_tp/sched_wakeup")
int on_wakeup(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *task = (void *)ctx->args[0];
	u32 tid = BPF_CORE_READ(task, pid);
	struct thread *thread = bpf_map_lookup_elem(&threads, &tid);

	if (thread)
		thread->woken_at = bpf_ktime_get_ns();
	return 0;
}

SEC("raw_tp/sys_enter")
int on_enter(struct bpf_raw_tracepoint_args *ctx)
{
	u32 number = ctx->args[1];
	struct call fresh = { .made = 1 }, *call;

	if (!is_target(bpf_get_current_pid_tgid() >> 32))
		return 0;
	call = bpf_map_lookup_elem(&calls, &number);
	if (call)
		call->made++;
	else
		bpf_map_update_elem(&calls, &number, &fresh, BPF_NOEXIST);
	return 0;
}

static _Bool ended_by_time(u8 kind, s64 result)
{
	return kind == WAIT_FUTEX ? result == -ETIMEDOUT : result == 0;
}

SEC("raw_tp/sys_exit")
int on_exit(struct bpf_raw_tracepoint_args *ctx)
{
	u64 id = bpf_get_current_pid_tgid();
	struct pt_regs *regs = (void *)ctx->args[0];
	s64 result = ctx->args[1];
	struct thread *thread;
	struct call *call;
	u32 number, operation;
	u8 kind;

	if (!is_target(id >> 32))
		return 0;
	number = CALL_OF(regs);
	if (number >= CALLS)
		return 0;
	barrier_var(number); /* else the compiler leaves the mask out, and verifiers can't follow its reasons */
	kind = waits[number & (CALLS - 1)];
	if (!kind)
		return 0;
	if (kind == WAIT_FUTEX) {
		operation = SECOND_ARGUMENT(regs) & FUTEX_COMMAND;
		if (operation != FUTEX_WAIT && operation != FUTEX_WAIT_BITSET)
			return 0;
	}
	call = bpf_map_lookup_elem(&calls, &number);
	if (!call)
		return 0; /* it began before we looked */
	call->waited++;
	if (!ended_by_time(kind, result) || (rings && asked(BPF_RB_AVAIL_DATA)))
		return 0; /* the time was up, and yet there is something to read */
	call->empty++;
	thread = row_of(id, id >> 32, bpf_ktime_get_ns());
	if (thread)
		thread->nothing = 1;
	return 0;
}

SEC("perf_event")
int on_tick(void *ctx)
{
	u64 id = bpf_get_current_pid_tgid(), now;
	struct thread *thread;

	if (!is_target(id >> 32))
		return 0;
	now = bpf_ktime_get_ns();
	thread = row_of(id, id >> 32, now);
	if (!thread)
		return 0;
	credit(thread);
	thread->ticks++;
	if (now - thread->since >= AWAKE_NS) {
		thread->awake = thread->slept_ns * AWAKE_PARTS < now - thread->since;
		thread->since = now;
		thread->slept_ns = 0;
	}
	if (!thread->awake)
		return 0;
	thread->awake_ticks++;
	if (rings && !asked(BPF_RB_AVAIL_DATA))
		thread->spinning_ticks++;
	return 0;
}
