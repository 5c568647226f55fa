/* More than 512 bytes of stack, over two functions: a compiler sees only one at a time. Not a tracing
 * program: from 6.13 on those may have a stack of their own for each function. */
#include "bad.h"

#define HALF 300

char LICENSE[] SEC("license") = "GPL";

static __noinline int second(int seed)
{
	volatile char room[HALF] = {};

	room[seed & 255] = seed;
	return room[(seed >> 8) & 255];
}

SEC("socket")
int bad_stack(struct __sk_buff *packet)
{
	volatile char room[HALF] = {};
	int seed = packet->len;

	room[seed & 255] = second(seed);
	return room[(seed >> 8) & 255];
}
