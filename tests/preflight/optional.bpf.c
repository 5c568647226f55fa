/* Not loaded unless asked for, and missing on old kernels. */
#include "small.h"

SEC("?iter/bpf_link")
int links(void *ctx)
{
	return 0;
}

SEC("raw_tp/sys_enter")
int always(void *ctx)
{
	return 0;
}
