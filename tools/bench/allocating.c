/* Allocates and frees without a pause; each quarter of a second of CPU a line with the pairs a second.
 *
 * allocating MIB: holds so much memory besides.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double used(void)
{
	struct timespec at;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &at);
	return at.tv_sec + at.tv_nsec / 1e9;
}

int main(int words, char **word)
{
	size_t held = (size_t)(words > 1 ? atoi(word[1]) : 0) << 20;
	char *volatile memory = malloc(held + 1);
	char *volatile piece;
	double began;
	long pairs;

	memset(memory, 1, held + 1);
	for (;;) {
		for (began = used(), pairs = 0; used() - began < 0.25; pairs += 100)
			for (int i = 0; i < 100; i++) {
				piece = malloc(64);
				piece[0] = 1;
				free(piece);
			}
		if (printf("%.0f\n", pairs / (used() - began)) < 0 || fflush(stdout))
			return 0;
	}
}
