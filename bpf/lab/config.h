/* The agent's settings as read from its YAML file.
 *
 * Every complaint carries file:line:column. A key that is not known is an error, an absent one keeps
 * its default. Durations are in nanoseconds, sizes in bytes. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "event.h"

#define MAX_FILTERS 256
#define MAX_TEXT 256

struct config {
	__u64 ring_bytes; /* as written; what is in force is rounded up, see ring_size() */
	__u64 wakeup;	  /* enum wakeup_policy */
	__u64 wakeup_bytes;

	__u64 poll_interval_ns; /* 0: sleep until the kernel wakes us */
	__u64 batch_size;
	__u64 workers; /* 1: the reader does the work itself */
	__u64 queue_size;

	__u64 sample_one_in;

	struct filter_key filters[MAX_FILTERS];
	size_t filter_count;

	__u64 cache_entries; /* 0: no cache */
	__u64 cache_lru;
	__u64 cache_ttl_ns;
	__u64 cache_clean;

	__u64 optional_program;

	__u64 export_queue_size;
	char export_to[MAX_TEXT];

	char pin_directory[MAX_TEXT]; /* in bpffs; empty: nothing is pinned */

	char metrics_address[MAX_TEXT];
	__u64 metrics_port;
	char log_file[MAX_TEXT];

	/* What a real agent has no setting for: how dear its work is, and how it is broken. */
	__u64 work_ns;
	__u64 export_ns; /* that the other end takes for each event */
	__u64 leak_bytes;
	__u64 leak_limit_bytes;
	__u64 user_cache_bytes; /* at most; 0: no such cache */
	__u64 spike_bytes;	/* of heap, taken and given back now and then */
	__u64 payload_entries;	/* 0: no payloads */
	__u64 optional_rounds;	/* of the optional program, per event */
	char crash_on[MAX_TEXT]; /* events of this process are more than we can take; empty: none */
	__u64 stuck_after_events;
	char bad_program[MAX_TEXT]; /* load bad/NAME.bpf.o too; empty: none */
	__u64 forbid_bpf;	    /* a seccomp filter refuses bpf() */
	__u64 memlock_bytes;	    /* RLIMIT_MEMLOCK; 0: as it is */
	__u64 retry_ns;		    /* when it can't start, begin anew after so long; 0: end */
};

/* Read `file` into `config`. Returns 0; or -1 with one line in `error`. */
int config_read(const char *file, struct config *config, char *error, size_t error_size);
