/* A kernel function of 6.6 that must be there. */
#include "small.h"

struct bpf_map {
	__u32 id;
} READ;
extern __s64 bpf_map_sum_elem_count(struct bpf_map *map) __ksym;
struct bpf_iter__bpf_map {
	struct bpf_map *map;
} READ;

SEC("iter/bpf_map")
int kfunc_strong(struct bpf_iter__bpf_map *ctx)
{
	struct bpf_map *map = ctx->map;

	return map ? bpf_map_sum_elem_count(map) > map->id : 0;
}
