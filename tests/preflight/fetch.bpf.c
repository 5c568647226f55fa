/* Atomic operations that give the old value back (5.12; clang -mcpu=v3). */
#include "small.h"

__u64 counter = 0;

SEC("raw_tp/sys_enter")
int fetch(void *ctx)
{
	return __sync_fetch_and_add(&counter, 1) == 7;
}
