/* The price of an event, paid in real CPU time and real memory. */
#pragma once

#include "event.h"

/* Measure how fast this CPU works; once, before the first `work`. Takes some 10 ms. */
void work_calibrate(void);

/* Use the CPU for about `ns`: rounds of mixing over the event's bytes. */
void work(__u64 ns, const struct event *event);

/* Keep `bytes` more of the heap for ever, until `limit` bytes are kept. */
void leak(__u64 bytes, __u64 limit);
