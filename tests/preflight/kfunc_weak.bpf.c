/* The same, used where it is there: works everywhere. */
#include "small.h"

struct bpf_map {
	__u32 id;
} READ;
extern __s64 bpf_map_sum_elem_count(struct bpf_map *map) __ksym __weak;
struct bpf_iter__bpf_map {
	struct bpf_map *map;
} READ;

SEC("iter/bpf_map")
int kfunc_weak(struct bpf_iter__bpf_map *ctx)
{
	struct bpf_map *map = ctx->map;

	if (map && bpf_map_sum_elem_count)
		return bpf_map_sum_elem_count(map) > map->id;
	return 0;
}
