/* The price of an event, paid in real CPU time. */
#pragma once

#include "event.h"

/* Measure how fast this CPU works; once, before the first `work`. Takes some 10 ms. */
void work_calibrate(void);

/* Use the CPU for about `ns`: rounds of mixing over the event's bytes. */
void work(__u64 ns, const struct event *event);

/* What we cannot take: an access to address 0. */
void crash(const struct event *event);
