/* Nanoseconds per system call: caller N. One line per kind: name, tab, nanoseconds.
 *
 * The least of chunks of 500 calls, short enough that some are not disturbed by other processes.
 */
#define _GNU_SOURCE
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define CHUNK 500

static __u32 key, value;
static union bpf_attr lookup, array, wrong;

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1e9 + time.tv_nsec;
}

static long bpf(int command, union bpf_attr *attr)
{
	return syscall(SYS_bpf, command, attr, sizeof(*attr));
}

static void ask_parent(void)
{
	syscall(SYS_getppid);
}

static void look_up(void)
{
	bpf(BPF_MAP_LOOKUP_ELEM, &lookup);
}

static void create(void)
{
	close(bpf(BPF_MAP_CREATE, &array));
}

static void fail(void)
{
	bpf(BPF_MAP_CREATE, &wrong);
}

static void report(const char *name, void (*call)(void), long calls)
{
	double least = 1e18;

	for (long done = 0; done < calls; done += CHUNK) {
		double began = now(), spent;

		for (int i = 0; i < CHUNK; i++)
			call();
		spent = now() - began;
		if (spent < least)
			least = spent;
	}
	printf("%s\t%f\n", name, least / CHUNK);
}

int main(int argc, char **argv)
{
	long calls = argc > 1 ? atol(argv[1]) : 50000;

	array.map_type = wrong.map_type = BPF_MAP_TYPE_ARRAY;
	array.key_size = array.value_size = wrong.key_size = wrong.value_size = 4;
	array.max_entries = 1;
	lookup.map_fd = bpf(BPF_MAP_CREATE, &array);
	if ((int)lookup.map_fd < 0)
		return 1;
	lookup.key = (unsigned long)&key;
	lookup.value = (unsigned long)&value;
	report("getppid()", ask_parent, calls);
	report("bpf() map lookup, not followed", look_up, calls);
	report("bpf() map creation, followed", create, calls / 10);
	report("bpf() map creation that fails, told", fail, calls / 10);
	return 0;
}
