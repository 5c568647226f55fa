/* kmalloc_node is gone since 6.1; the others are everywhere. */
#include "small.h"

SEC("tracepoint/kmem/kmalloc_node")
int gone_tracepoint(void *ctx)
{
	return 0;
}

SEC("tracepoint/syscalls/sys_enter_openat")
int one_call(void *ctx)
{
	return 0;
}

SEC("tracepoint/syscalls/sys_enter_no_such_call")
int no_call(void *ctx)
{
	return 0;
}

SEC("raw_tp/no_such_tracepoint")
int no_tracepoint(void *ctx)
{
	return 0;
}
