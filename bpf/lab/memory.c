#include "memory.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define ENTRY_BYTES 500
#define BLOCK_BYTES 2000

void leak(__u64 bytes, __u64 limit)
{
	static __u64 leaked;
	void *kept;

	if (!bytes || __atomic_load_n(&leaked, __ATOMIC_RELAXED) + bytes > limit)
		return;
	kept = malloc(bytes);
	if (!kept)
		return;
	memset(kept, 0x5a, bytes); /* untouched memory would cost nothing */
	__atomic_fetch_add(&leaked, bytes, __ATOMIC_RELAXED);
	*(void *volatile *)&kept = NULL; /* the last we know of it */
}

void cache_event(__u64 limit, const struct event *event)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static char **entries;
	static size_t slots;
	__u64 hash = (event->time_ns ^ event->pid) * 0x9e3779b97f4a7c15ULL;
	char **entry;

	if (!limit)
		return;
	pthread_mutex_lock(&lock);
	if (!entries) { /* its size is that of the first event's configuration */
		slots = limit / ENTRY_BYTES + 1;
		entries = calloc(slots, sizeof(*entries));
	}
	if (entries) {
		entry = &entries[(hash >> 32) % slots];
		free(*entry);
		*entry = malloc(ENTRY_BYTES);
		if (*entry)
			memset(*entry, 0x5a, ENTRY_BYTES);
	}
	pthread_mutex_unlock(&lock);
}

struct block {
	struct block *next;
	char bytes[BLOCK_BYTES - sizeof(struct block *)];
};

void spike(__u64 bytes)
{
	static struct block *last;
	struct block *first = last, *block;

	for (__u64 taken = 0; taken < bytes; taken += sizeof(*block)) {
		block = malloc(sizeof(*block));
		if (!block)
			break;
		memset(block->bytes, 0x5a, sizeof(block->bytes));
		block->next = first;
		first = block;
	}
	last = first; /* the youngest, and so the highest */
	if (!last)
		return;
	for (struct block *next = last->next; next;) {
		block = next;
		next = block->next;
		free(block);
	}
	last->next = NULL;
}
