/* The work on each event: in the caller's thread, or in several of their own behind a bounded queue. */
#pragma once

#include "config.h"

/* Take the settings; with more than one worker, start so many threads. 0 or -errno: then fewer run. */
int workers_start(const struct config *config);

/* Work on `n` events now, or hand them over; waits while the queue is full (back-pressure). */
void workers_take(const struct event *events, size_t n);

/* End the threads; all events that were handed over are worked on before this returns. */
void workers_stop(void);
