#include "queue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int queue_init(struct queue *queue, size_t capacity)
{
	memset(queue, 0, sizeof(*queue));
	queue->events = calloc(capacity, sizeof(struct event));
	if (!queue->events)
		return -ENOMEM;
	queue->capacity = capacity;
	pthread_mutex_init(&queue->lock, NULL);
	pthread_cond_init(&queue->filled, NULL);
	pthread_cond_init(&queue->emptied, NULL);
	return 0;
}

void queue_free(struct queue *queue)
{
	free(queue->events);
	pthread_mutex_destroy(&queue->lock);
	pthread_cond_destroy(&queue->filled);
	pthread_cond_destroy(&queue->emptied);
}

static void take(struct queue *queue, struct event *events, size_t count)
{
	size_t first = queue->capacity - queue->head < count ? queue->capacity - queue->head : count;

	memcpy(events, queue->events + queue->head, first * sizeof(*events));
	memcpy(events + first, queue->events, (count - first) * sizeof(*events));
	queue->head = (queue->head + count) % queue->capacity;
	queue->count -= count;
}

static void put(struct queue *queue, const struct event *events, size_t count)
{
	size_t tail = (queue->head + queue->count) % queue->capacity;
	size_t first = queue->capacity - tail < count ? queue->capacity - tail : count;

	memcpy(queue->events + tail, events, first * sizeof(*events));
	memcpy(queue->events, events + first, (count - first) * sizeof(*events));
	queue->count += count;
}

long queue_resize(struct queue *queue, size_t capacity)
{
	struct event *events = calloc(capacity, sizeof(struct event));
	size_t kept;
	long lost;

	if (!events)
		return -ENOMEM;
	pthread_mutex_lock(&queue->lock);
	kept = queue->count < capacity ? queue->count : capacity;
	lost = queue->count - kept;
	take(queue, events, kept);
	free(queue->events);
	queue->events = events;
	queue->capacity = capacity;
	queue->head = 0;
	queue->count = kept;
	pthread_cond_broadcast(&queue->emptied);
	pthread_mutex_unlock(&queue->lock);
	return lost;
}

size_t queue_push(struct queue *queue, const struct event *events, size_t count, bool wait)
{
	size_t done = 0;

	pthread_mutex_lock(&queue->lock);
	while (!queue->closed && done < count) {
		size_t room = queue->capacity - queue->count;
		size_t part = room < count - done ? room : count - done;

		if (part) {
			put(queue, events + done, part);
			done += part;
			pthread_cond_signal(&queue->filled);
		} else if (wait) {
			pthread_cond_wait(&queue->emptied, &queue->lock);
		} else {
			break;
		}
	}
	pthread_mutex_unlock(&queue->lock);
	return done;
}

size_t queue_pop(struct queue *queue, struct event *events, size_t most)
{
	size_t count;

	pthread_mutex_lock(&queue->lock);
	while (!queue->count && !queue->closed)
		pthread_cond_wait(&queue->filled, &queue->lock);
	count = queue->count < most ? queue->count : most;
	take(queue, events, count);
	if (queue->count)
		pthread_cond_signal(&queue->filled);
	pthread_cond_signal(&queue->emptied);
	pthread_mutex_unlock(&queue->lock);
	return count;
}

void queue_close(struct queue *queue)
{
	pthread_mutex_lock(&queue->lock);
	queue->closed = true;
	pthread_cond_broadcast(&queue->filled);
	pthread_cond_broadcast(&queue->emptied);
	pthread_mutex_unlock(&queue->lock);
}
