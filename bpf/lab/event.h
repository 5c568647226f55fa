/* What the BPF program and the agent agree on: the record, the filter and the cache entry.
 * Fixed sizes and no padding by chance, since both sides and outside observers count in bytes. */
#pragma once

#include <linux/types.h>

#define COMM_BYTES 16

/* One system call, as it lies in the ring: 64 bytes, 72 with the ring's own header. */
struct event {
	__u64 time_ns; /* since boot */
	__u32 pid;
	__u32 tid;
	__u32 uid;
	__u32 gid;
	__s64 syscall;
	__u64 argument; /* the first one */
	__u32 parent;
	__u32 cpu;
	char comm[COMM_BYTES];
};

_Static_assert(sizeof(struct event) == 64, "observers know the record as 64 bytes");

/* Kinds of filter; bit `1 << kind` of `filters_in_use` says that at least one entry exists.
 * An event passes when each including kind in use lists it, and no excluding one does. */
enum filter_kind {
	FILTER_COMM,
	FILTER_PID,
	FILTER_UID,
	FILTER_SYSCALL,
	FILTER_EXCLUDE_COMM,
	FILTER_EXCLUDE_PID,
	FILTER_EXCLUDE_UID,
	FILTER_EXCLUDE_SYSCALL,
};

struct filter_key {
	__u64 kind;
	union {
		char comm[COMM_BYTES];
		struct {
			__u64 number;
			__u64 zero;
		};
	};
};

/* What the cache and the payloads are kept by. */
struct cache_key {
	__u32 pid;
	__u32 argument;
};

struct cache_entry {
	__u64 last_ns; /* since boot */
	__u64 count;
};

#define PAYLOAD_BYTES 1900 /* with key and header just below 2 KiB, which is what is taken for it */

struct payload {
	char bytes[PAYLOAD_BYTES];
};

/* When the program wakes the reader. */
enum wakeup_policy {
	WAKEUP_AUTO,  /* the kernel's choice: when the reader has caught up */
	WAKEUP_NONE,  /* never: the reader polls */
	WAKEUP_FORCE, /* at every event */
	WAKEUP_EVERY, /* when at least `wakeup_bytes` wait */
};
