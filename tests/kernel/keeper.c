/* Allocates COUNT pieces of 200 bytes, frees all but each KEEP-th, and tells what glibc itself says is free. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int words, char **word)
{
	int count = words > 1 ? atoi(word[1]) : 1000, keep = words > 2 ? atoi(word[2]) : 10;
	char **pieces = malloc(count * sizeof(*pieces));
	char byte;

	for (int i = 0; i < count; i++) {
		pieces[i] = malloc(200);
		memset(pieces[i], 1, 200);
	}
	for (int i = 0; i < count; i++)
		if (i % keep)
			free(pieces[i]);
	printf("%zu %zu\n", mallinfo2().fordblks, mallinfo2().arena);
	fflush(stdout);
	return read(0, &byte, 1) < 0;
}
