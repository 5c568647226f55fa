#include "log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

static FILE *out;

int log_open(const char *file)
{
	FILE *opened = file && *file ? fopen(file, "ae") : stderr;

	if (!opened)
		return -errno;
	if (out && out != stderr)
		fclose(out);
	out = opened;
	setvbuf(out, NULL, _IOLBF, 4096);
	return 0;
}

void log_line(enum level level, const char *format, ...)
{
	static const char *const words[] = {"info", "warn", "error"};
	FILE *to = out ? out : stderr;
	struct timespec now;
	struct tm utc;
	char moment[32];
	va_list arguments;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	strftime(moment, sizeof(moment), "%Y-%m-%dT%H:%M:%S", &utc);
	flockfile(to);
	fprintf(to, "%s.%03ldZ %s ", moment, now.tv_nsec / 1000000, words[level]);
	va_start(arguments, format);
	vfprintf(to, format, arguments);
	va_end(arguments);
	fputc('\n', to);
	funlockfile(to);
}
