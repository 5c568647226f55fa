/* Iterators: over tasks (5.8), over links (5.19), over slab caches (6.13). */
#include "small.h"

SEC("iter/task")
int tasks(void *ctx)
{
	return 0;
}

SEC("iter/bpf_link")
int links(void *ctx)
{
	return 0;
}

SEC("iter/kmem_cache")
int caches(void *ctx)
{
	return 0;
}
