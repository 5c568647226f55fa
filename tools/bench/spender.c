/* Spends its CPU in three functions whose shares are known: a half, three tenths, a fifth.
 * To be built with -O0: at -O2 gcc leaves the frame pointer out of functions that call none, asked or not. */
#include <stdint.h>
#include <stdio.h>

static volatile uint64_t sink;

#define SPEND(name, rounds)                             \
	__attribute__((noinline)) void name(void)       \
	{                                               \
		uint64_t state = 88172645463325252ULL;  \
		for (int i = 0; i < (rounds); i++) {    \
			state ^= state << 13;           \
			state ^= state >> 7;            \
			state ^= state << 17;           \
		}                                       \
		sink += state;                          \
	}

SPEND(spend_half, 50000)
SPEND(spend_three_tenths, 30000)
SPEND(spend_fifth, 20000)

int main(void)
{
	puts("ready");
	fflush(stdout);
	for (;;) {
		spend_half();
		spend_three_tenths();
		spend_fifth();
	}
}
