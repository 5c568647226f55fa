/* Types: asked for (works everywhere), and a size that is 0 where there is none. */
#include "small.h"

struct slab {
	unsigned long inuse;
} READ;
struct no_such_struct {
	int field;
} READ;

SEC("raw_tp/sys_enter")
int types(void *ctx)
{
	return bpf_core_type_exists(struct slab) + bpf_core_type_size(struct no_such_struct);
}
