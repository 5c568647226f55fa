/* Security hooks: an old one, and one of 6.12. */
#include "small.h"

SEC("lsm/file_open")
int old_hook(void *ctx)
{
	return 0;
}

SEC("lsm/bdev_setintegrity")
int new_hook(void *ctx)
{
	return 0;
}
