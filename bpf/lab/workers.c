#include "workers.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "counts.h"
#include "exporter.h"
#include "memory.h"
#include "queue.h"
#include "work.h"

#define MAX_WORKERS 64

struct counts counts;
const double processing_bounds_s[PROCESSING_BUCKETS] = {1e-6, 2.5e-6, 5e-6, 1e-5, 2.5e-5, 5e-5,
							1e-4, 2.5e-4, 5e-4, 1e-3, 1e-2,	  1e-1};

static pthread_t threads[MAX_WORKERS];
static size_t thread_count;
static struct queue queue;
static struct config config; /* changes only while no thread runs */

static __u64 now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (__u64)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void observe(__u64 took_ns)
{
	size_t bucket = 0;

	while (bucket < PROCESSING_BUCKETS && took_ns > processing_bounds_s[bucket] * 1e9)
		bucket++;
	count(&counts.processing[bucket], 1);
	count(&counts.processing_ns, took_ns);
	count(&counts.processing_count, 1);
}

/* Decode, enrich, hand on: the price of an event is `practice.work_per_event`, in real CPU time. */
static void process(const struct event *events, size_t n)
{
	__u64 before = now_ns(), after;

	for (size_t i = 0; i < n; i++) {
		if (*config.crash_on && strncmp(events[i].comm, config.crash_on, COMM_BYTES) == 0)
			crash(&events[i]);
		work(config.work_ns, &events[i]);
		leak(config.leak_bytes, config.leak_limit_bytes);
		cache_event(config.user_cache_bytes, &events[i]);
		after = now_ns();
		observe(after - before);
		before = after;
	}
	exporter_take(events, n);
}

static void *work_loop(void *unused)
{
	struct event *events = malloc(config.batch_size * sizeof(*events));
	size_t n;

	(void)unused;
	pthread_setname_np(pthread_self(), "worker");
	while (events && (n = queue_pop(&queue, events, config.batch_size)))
		process(events, n);
	free(events);
	return NULL;
}

int workers_start(const struct config *next)
{
	int error;

	config = *next;
	if (config.workers <= 1)
		return 0;
	error = queue_init(&queue, config.queue_size);
	while (!error && thread_count < config.workers) {
		error = -pthread_create(&threads[thread_count], NULL, work_loop, NULL);
		thread_count += !error;
	}
	return error;
}

void workers_take(const struct event *events, size_t n)
{
	if (thread_count)
		queue_push(&queue, events, n, true);
	else
		process(events, n);
}

void workers_stop(void)
{
	if (!thread_count)
		return;
	queue_close(&queue);
	for (size_t i = 0; i < thread_count; i++)
		pthread_join(threads[i], NULL);
	queue_free(&queue);
	thread_count = 0;
}
