/* Reads a structure of connection tracking: of the kernel, or of a module that must be loaded. */
#include "small.h"

struct nf_conn {
	unsigned long status;
} READ;

SEC("raw_tp/sys_enter")
int no_struct(__u64 *ctx)
{
	struct nf_conn *connection = (void *)ctx[0];

	return BPF_CORE_READ(connection, status) == 0;
}
