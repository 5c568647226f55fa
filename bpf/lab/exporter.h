/* The last stage: a bounded queue and a thread that writes events to a file or FIFO.
 *
 * It never holds anybody up: events that find the queue full are dropped and counted. */
#pragma once

#include <stddef.h>
#include <time.h>

#include "event.h"

int exporter_start(const char *to, size_t queue_size, __u64 ns_per_event); /* 0 or -errno */
void exporter_take(const struct event *events, size_t n);
int exporter_resize(size_t queue_size); /* 0 or -errno: then as before */
void exporter_stop(const struct timespec *deadline); /* CLOCK_REALTIME */
