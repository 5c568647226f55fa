#include "quantity.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

/* `12`, `1.5`, with one of `units` behind it; the unit's factor is at the same index. */
static bool parse_quantity(const char *text, const char *const *units, const double *factors, __u64 *value)
{
	char *end;
	double number = strtod(text, &end);

	if (end == text || number < 0 || number > 1e18)
		return false;
	while (*end == ' ')
		end++;
	for (size_t i = 0; units[i]; i++) {
		if (strcmp(end, units[i]) == 0 && number * factors[i] < 1e19) {
			*value = (__u64)(number * factors[i] + 0.5);
			return true;
		}
	}
	return false;
}

bool parse_bytes(const char *text, __u64 *value)
{
	static const char *const units[] = {"", "B", "KiB", "MiB", "GiB", "kB", "KB", "MB", "GB", NULL};
	static const double factors[] = {1, 1, 1 << 10, 1 << 20, 1 << 30, 1e3, 1e3, 1e6, 1e9};

	return parse_quantity(text, units, factors, value);
}

bool parse_duration(const char *text, __u64 *value)
{
	static const char *const units[] = {"ns", "us", "ms", "s", "m", NULL};
	static const double factors[] = {1, 1e3, 1e6, 1e9, 60e9};

	if (strcmp(text, "0") == 0) {
		*value = 0;
		return true;
	}
	return parse_quantity(text, units, factors, value);
}

bool parse_count(const char *text, __u64 *value)
{
	char *end;

	errno = 0;
	*value = strtoull(text, &end, 10);
	return !errno && end != text && !*end && *text != '-' && *text != '+';
}

bool parse_syscall(const char *text, __u64 *number)
{
	static const struct {
		const char *name;
		__u64 number;
	} names[] = {{"read", SYS_read},     {"write", SYS_write},   {"openat", SYS_openat}, {"close", SYS_close},
		     {"futex", SYS_futex},   {"getpid", SYS_getpid}, {"getppid", SYS_getppid}, {"execve", SYS_execve},
		     {"connect", SYS_connect}};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(text, names[i].name) == 0) {
			*number = names[i].number;
			return true;
		}
	}
	return parse_count(text, number);
}
