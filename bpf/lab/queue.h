/* A bounded queue of events between threads. */
#pragma once

#include <pthread.h>
#include <stdbool.h>

#include "event.h"

struct queue {
	pthread_mutex_t lock;
	pthread_cond_t filled, emptied;
	struct event *events;
	size_t capacity, head, count;
	bool closed;
};

int queue_init(struct queue *queue, size_t capacity);
void queue_free(struct queue *queue);

/* Another capacity; what is in it stays. Returns how many events did not fit any more, or -errno. */
long queue_resize(struct queue *queue, size_t capacity);

/* Put in up to `count` events and tell how many; with `wait`, wait for room until all are in
 * (back-pressure) or the queue is closed. */
size_t queue_push(struct queue *queue, const struct event *events, size_t count, bool wait);

/* Take out up to `most` events, waiting for the first. 0: the queue is closed and empty. */
size_t queue_pop(struct queue *queue, struct event *events, size_t most);

/* No more events come; those inside can still be taken. */
void queue_close(struct queue *queue);
