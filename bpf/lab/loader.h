/* The kernel half of the agent: its object loaded and attached, its ring, its filters, its variables. */
#pragma once

#include "config.h"

/* The program's global variables, mapped: reads and stores are seen by the kernel at once. */
struct variables {
	volatile __u64 *sample_n, *filters_in_use, *wakeup, *wakeup_bytes, *cache_on, *payloads_on;
	volatile __u64 *matched, *received, *dropped, *cache_failed;
};

struct loaded {
	struct bpf_object *object;
	struct bpf_link *link;
	struct variables variables;
	int rings_fd, filters_fd, cache_fd, variables_fd;
	__u64 cache_entries, cache_lru; /* in force */
};

struct btf;

/* Where the variable `name` lies in `.bss`, mapped at `base`, by the object's own BTF; NULL: there is none. */
volatile __u64 *find_variable(const struct btf *btf, void *base, const char *name);

/* Load what is in `file`. With `before`, its variables, filters and ring are shared.
 * Returns 0 or -errno, logged. */
int loader_load(struct loaded *loaded, const char *file, const struct config *config, const struct loaded *before);

/* Attach; with `before`, in its place, and close that. Returns 0 or -errno, logged: `loaded` is then
 * closed and `before` attached as it was. */
int loader_attach(struct loaded *loaded, struct loaded *before);
void loader_close(struct loaded *loaded);

/* Take what is pinned out of the BPF file system. */
void loader_unpin(const struct config *config);

/* Make the kernel filter as `config` says. Returns 0 or -errno. */
int loader_filter(struct loaded *loaded, const struct config *config);

/* The size in force for a wanted one: the next power of two of whole pages. */
__u64 ring_size(__u64 wanted);

/* A new ring named `events`, not yet in use; its fd or -errno. */
int ring_create(__u64 bytes);

/* Let the program write into `ring_fd`. When it returns, nothing writes into the former ring. */
int ring_use(struct loaded *loaded, int ring_fd);

/* Entries of the cache now; with `ttl_ns`, those older are removed. -errno on failure. Cost: one walk. */
long cache_sweep(struct loaded *loaded, __u64 ttl_ns);
