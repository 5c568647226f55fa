/* The log: one line each, with the moment and the level, flushed at once. */
#pragma once

enum level { LOG_INFO, LOG_WARN, LOG_ERROR };

/* Append to `file`; NULL or "" means stderr. Returns 0 or -errno, and then stays where it was. */
int log_open(const char *file);
void log_line(enum level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
