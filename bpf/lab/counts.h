/* What the agent counted since its start; added to by its threads, read by anyone. */
#pragma once

#include <linux/types.h>

#define PROCESSING_BUCKETS 12

struct counts {
	__u64 received, queue_dropped, exported, swap_lost;
	__u64 processing[PROCESSING_BUCKETS + 1]; /* the last one: beyond all bounds */
	__u64 processing_count, processing_ns;
};

extern struct counts counts;
extern const double processing_bounds_s[PROCESSING_BUCKETS];

static inline void count(__u64 *counter, __u64 by)
{
	__atomic_fetch_add(counter, by, __ATOMIC_RELAXED);
}
