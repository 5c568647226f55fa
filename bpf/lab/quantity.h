/* Sizes, durations, counts and system calls as people write them. False: it is none. */
#pragma once

#include <linux/types.h>
#include <stdbool.h>

bool parse_bytes(const char *text, __u64 *value);    /* 256KiB, 1MB, 4096 */
bool parse_duration(const char *text, __u64 *value); /* 100ms, 0.5s, 0; in nanoseconds */
bool parse_count(const char *text, __u64 *value);
bool parse_syscall(const char *text, __u64 *number); /* by number, or some by name */
