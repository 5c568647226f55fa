/* What becomes of the agent's heap: memory that is lost, that fills a cache, or that is given back. */
#pragma once

#include "event.h"

/* Keep `bytes` more of the heap for ever, until `limit` bytes are kept. */
void leak(__u64 bytes, __u64 limit);

/* Keep what is known of an event in a cache of `limit` bytes at most; 0: don't. A new entry takes the
 * place of the one that it meets. */
void cache_event(__u64 limit, const struct event *event);

/* Take `bytes` of the heap in small blocks and give all but the last back, which lies above the others: the
 * heap cannot shrink, and the memory stays with the process until the next spike uses it again. */
void spike(__u64 bytes);
