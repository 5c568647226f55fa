/* Functions that every kernel has. */
#include "small.h"

SEC("kprobe/tcp_v4_connect")
int at_entry(void *ctx)
{
	return 0;
}

SEC("kretprobe/tcp_v4_connect")
int at_return(void *ctx)
{
	return 0;
}

SEC("fexit/vfs_read")
int after(void *ctx)
{
	return 0;
}

SEC("fentry/__x64_sys_getpid")
int at_call(void *ctx)
{
	return 0;
}
