/* Nothing that changes between kernels. */
#include "small.h"

SEC("xdp")
int plain_xdp(void *ctx)
{
	return XDP_PASS;
}

SEC("tc")
int classify(void *ctx)
{
	return 0;
}
