/* A register read before anything was written to it. */
#include "bad.h"

char LICENSE[] SEC("license") = "GPL";

SEC("raw_tp/sys_enter")
int bad_uninitialised(void *ctx __attribute__((unused)))
{
	int value;

	asm volatile("%0 = r8" : "=r"(value));
	return value;
}
