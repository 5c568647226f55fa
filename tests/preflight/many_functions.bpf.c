/* kprobe.multi, of 5.18. */
#include "small.h"

SEC("kprobe.multi/tcp_v4_*")
int many_functions(void *ctx)
{
	return 0;
}
