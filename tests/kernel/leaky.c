/* Leaks at known places, so many bytes at each; waits for a line before and after, so that it can be watched.
 *
 * leaky ROUNDS MICROSECONDS: rounds of work, with a pause after each.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KEPT 64
#define NAME "a name of thirty-one characters"

static void *kept[KEPT]; /* a cache at its bound */
static char *volatile sink;

static __attribute__((noinline)) void leak_buffers(void)
{
	sink = malloc(100);
	sink[0] = 1;
	sink = calloc(5, 8);
}

static __attribute__((noinline)) void leak_names(void)
{
	sink = strdup(NAME);
	sink[0] = 'A';
}

static __attribute__((noinline)) void leak_grown(void)
{
	char *grown = malloc(16);

	sink = grown;
	for (int size = 32; size <= 256; size *= 2)
		grown = realloc(grown, size);
	sink = grown;
}

static __attribute__((noinline)) void leak_aligned(void)
{
	void *page = NULL;

	if (posix_memalign(&page, 64, 192) == 0)
		sink = page;
}

static __attribute__((noinline)) void use_and_free(void)
{
	sink = malloc(1000);
	sink[0] = 1;
	free(sink);
}

static __attribute__((noinline)) void replace(int round)
{
	free(kept[round % KEPT]);
	kept[round % KEPT] = malloc(500);
}

static int wait_for_line(void)
{
	char byte;

	while (read(0, &byte, 1) == 1)
		if (byte == '\n')
			return 1;
	return 0;
}

int main(int count, char **words)
{
	int rounds = count > 1 ? atoi(words[1]) : 100, pause_us = count > 2 ? atoi(words[2]) : 0;

	for (int i = 0; i < KEPT; i++)
		replace(i);
	while (wait_for_line()) {
		for (int i = 0; i < rounds; i++) {
			leak_buffers();
			leak_names();
			leak_grown();
			leak_aligned();
			use_and_free();
			replace(i);
			if (pause_us)
				usleep(pause_us);
		}
		if (write(1, "done\n", 5) != 5)
			return 1;
	}
	sink = NULL;
	return 0;
}
