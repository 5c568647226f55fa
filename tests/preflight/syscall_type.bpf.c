/* A program that user space runs: a type of 5.14. */
#include "small.h"

SEC("syscall")
int syscall_type(void *ctx)
{
	return 0;
}
