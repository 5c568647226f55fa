/* The agent's metrics and health, over HTTP on one address. */
#pragma once

#include "config.h"
#include "loader.h"
#include "optional.h"

/* What the answers are made from, filled anew by the caller before each. */
struct status {
	const struct loaded *loaded;
	const struct optional *optional;
	const struct config *config;
	__u64 generation, reloads_done, reloads_failed, ring_bytes;
	long cache_entries;
	const char *degraded; /* the reason, or empty */
};

/* A listening socket, or -errno. */
int metrics_listen(const struct config *config);

/* Answer one request on `listener`: /metrics, /healthz, else 404. Takes 0.2 s at most. */
void metrics_answer(int listener, const struct status *status);
