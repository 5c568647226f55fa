#include "work.h"

#include <stddef.h>
#include <time.h>

#define CALIBRATION_ROUNDS 200000
#define CALIBRATIONS 5
#define MEASURED_EVERY 64 /* events */
#define SHARE_OF_NEW 16   /* a single measurement may have been disturbed: it counts for a sixteenth */

static double rounds_per_ns = 0.3;
static volatile __u64 sink;
/* A CPU's speed changes as its sibling and the host's other guests come and go: each thread follows its own. */
static _Thread_local double speed;
static _Thread_local unsigned int events;

/* Named and never inlined, so that a profile of the agent shows where its time goes. */
__attribute__((noinline)) static __u64 lab_parse_event(__u64 rounds, const struct event *event)
{
	const __u64 *words = (const __u64 *)event;
	__u64 state = 88172645463325252ULL;

	for (__u64 i = 0; i < rounds; i++) {
		state ^= words[i % (sizeof(*event) / sizeof(*words))];
		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
	}
	return state;
}

static double thread_ns(void)
{
	struct timespec used;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
	return used.tv_sec * 1e9 + used.tv_nsec;
}

void work_calibrate(void)
{
	const struct event event = {0};
	double best = 0, start, found;

	/* the fastest of a few: the others were disturbed */
	for (int i = 0; i < CALIBRATIONS; i++) {
		start = thread_ns();
		sink = lab_parse_event(CALIBRATION_ROUNDS, &event);
		found = CALIBRATION_ROUNDS / (thread_ns() - start);
		best = found > best ? found : best;
	}
	rounds_per_ns = best;
}

void work(__u64 ns, const struct event *event)
{
	double start, rounds;

	if (!ns)
		return;
	if (!speed)
		speed = rounds_per_ns;
	rounds = ns * speed;
	if (++events % MEASURED_EVERY) {
		sink = lab_parse_event((__u64)rounds, event);
		return;
	}
	start = thread_ns();
	sink = lab_parse_event((__u64)rounds, event);
	speed += (rounds / (thread_ns() - start) - speed) / SHARE_OF_NEW;
}

void crash(const struct event *event)
{
	volatile __u64 *const nowhere = NULL;

	*nowhere = event->argument;
}
