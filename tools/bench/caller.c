/* Nanoseconds per system call: caller N. One line per kind: name, tab, nanoseconds. */
#define _GNU_SOURCE
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

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

static void report(const char *name, double began, long calls)
{
	printf("%s\t%f\n", name, (now() - began) / calls);
}

int main(int argc, char **argv)
{
	long calls = argc > 1 ? atol(argv[1]) : 200000;
	__u32 key = 0, value = 0;
	union bpf_attr attr = {};
	double began;
	int map;

	began = now();
	for (long i = 0; i < calls; i++)
		syscall(SYS_getppid);
	report("getppid()", began, calls);

	attr.map_type = BPF_MAP_TYPE_ARRAY;
	attr.key_size = attr.value_size = 4;
	attr.max_entries = 1;
	map = bpf(BPF_MAP_CREATE, &attr);
	if (map < 0)
		return 1;
	memset(&attr, 0, sizeof(attr));
	attr.map_fd = map;
	attr.key = (unsigned long)&key;
	attr.value = (unsigned long)&value;
	began = now();
	for (long i = 0; i < calls; i++)
		bpf(BPF_MAP_LOOKUP_ELEM, &attr);
	report("bpf() map lookup, not followed", began, calls);

	memset(&attr, 0, sizeof(attr));
	attr.map_type = BPF_MAP_TYPE_ARRAY;
	attr.key_size = attr.value_size = 4;
	attr.max_entries = 1;
	began = now();
	for (long i = 0; i < calls / 50; i++)
		close(bpf(BPF_MAP_CREATE, &attr));
	report("bpf() map creation, followed", began, calls / 50);

	attr.max_entries = 0;
	began = now();
	for (long i = 0; i < calls / 50; i++)
		bpf(BPF_MAP_CREATE, &attr);
	report("bpf() map creation that fails, told", began, calls / 50);
	return 0;
}
