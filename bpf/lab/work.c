#include "work.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CALIBRATION_ROUNDS 200000
#define CALIBRATIONS 5

static double rounds_per_ns = 0.3;
static volatile __u64 sink;

static __u64 mix(__u64 rounds, const struct event *event)
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
	double best = 0, start, speed;

	/* the fastest of a few: the others were disturbed */
	for (int i = 0; i < CALIBRATIONS; i++) {
		start = thread_ns();
		sink = mix(CALIBRATION_ROUNDS, &event);
		speed = CALIBRATION_ROUNDS / (thread_ns() - start);
		best = speed > best ? speed : best;
	}
	rounds_per_ns = best;
}

void work(__u64 ns, const struct event *event)
{
	if (ns)
		sink = mix((__u64)(ns * rounds_per_ns), event);
}

void leak(__u64 bytes, __u64 limit)
{
	static __u64 leaked;
	void *kept;

	if (!bytes || __atomic_load_n(&leaked, __ATOMIC_RELAXED) + bytes > limit)
		return;
	kept = malloc(bytes);
	if (!kept)
		return;
	memset(kept, 0x5a, bytes); /* untouched memory would cost nothing */
	__atomic_fetch_add(&leaked, bytes, __ATOMIC_RELAXED);
	*(void *volatile *)&kept = NULL; /* the last we know of it */
}
