#include "metrics.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "counts.h"

#define REQUEST_TIMEOUT_US 200000
#define VERSION_TEXT "text/plain; version=0.0.4; charset=utf-8"

int metrics_listen(const struct config *config)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(config->metrics_port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1, error;

	if (fd < 0)
		return -errno;
	inet_pton(AF_INET, config->metrics_address, &address.sin_addr);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 && listen(fd, 16) == 0)
		return fd;
	error = -errno;
	close(fd);
	return error;
}

static void head(FILE *out, const char *name, const char *type, const char *help)
{
	fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void single(FILE *out, const char *name, const char *type, const char *help, double value)
{
	head(out, name, type, help);
	fprintf(out, "%s %.15g\n", name, value);
}

static void write_events(FILE *out, const struct status *status)
{
	const struct variables *v = &status->loaded->variables;

	head(out, "bpf_program_loaded", "gauge", "Whether the program is loaded and attached.");
	fprintf(out, "bpf_program_loaded{program=\"on_syscall\"} %d\n", status->loaded->link != NULL);
	fprintf(out, "bpf_program_loaded{program=\"lab_optional\"} %d\n", status->optional->link != NULL);
	head(out, "bpf_events_received_total", "counter", "Events read from the ring.");
	fprintf(out, "bpf_events_received_total{type=\"syscall\"} %llu\n", counts.received);
	head(out, "bpf_events_dropped_total", "counter", "Events lost, by the place where they were lost.");
	fprintf(out, "bpf_events_dropped_total{stage=\"ring\"} %llu\n", *v->dropped);
	fprintf(out, "bpf_events_dropped_total{stage=\"queue\"} %llu\n", counts.queue_dropped);
	single(out, "lab_events_matched_total", "counter", "Events that passed the filters, before sampling.",
	       *v->matched);
	single(out, "lab_events_exported_total", "counter", "Events that left the agent.", counts.exported);
	single(out, "lab_swap_lost_events_total", "counter", "Events left unread in rings that were exchanged.",
	       counts.swap_lost);
}

static void write_processing(FILE *out)
{
	__u64 total = 0;

	head(out, "bpf_event_processing_seconds", "histogram", "Time of work on one event.");
	for (size_t i = 0; i < PROCESSING_BUCKETS; i++) {
		total += counts.processing[i];
		fprintf(out, "bpf_event_processing_seconds_bucket{le=\"%g\"} %llu\n", processing_bounds_s[i], total);
	}
	total += counts.processing[PROCESSING_BUCKETS];
	fprintf(out, "bpf_event_processing_seconds_bucket{le=\"+Inf\"} %llu\n", total);
	fprintf(out, "bpf_event_processing_seconds_sum %.9f\n", counts.processing_ns / 1e9);
	fprintf(out, "bpf_event_processing_seconds_count %llu\n", total);
}

static void write_maps(FILE *out, const struct status *status)
{
	head(out, "bpf_map_entries", "gauge", "Entries in the map, counted every second.");
	fprintf(out, "bpf_map_entries{map=\"cache\"} %ld\n", status->cache_entries);
	head(out, "bpf_map_max_entries", "gauge", "Entries the map can hold.");
	fprintf(out, "bpf_map_max_entries{map=\"cache\"} %llu\n", status->loaded->cache_entries);
	single(out, "lab_cache_failed_total", "counter", "Entries that did not fit into the cache.",
	       *status->loaded->variables.cache_failed);
}

static void write_settings(FILE *out, const struct status *status)
{
	const struct config *config = status->config;

	single(out, "lab_ring_bytes", "gauge", "Size of the ring in force.", status->ring_bytes);
	single(out, "lab_poll_interval_seconds", "gauge", "Sleep of the reader; 0: until woken.",
	       config->poll_interval_ns / 1e9);
	single(out, "lab_optional_program", "gauge", "Whether the configuration asks for lab_optional.",
	       config->optional_program);
	single(out, "lab_batch_size", "gauge", "Events that are handed on at once.", config->batch_size);
	single(out, "lab_workers", "gauge", "Threads that work on events.", config->workers);
	single(out, "lab_export_queue_size", "gauge", "Events that can wait for the exporter.", config->export_queue_size);
	single(out, "lab_sampling_one_in", "gauge", "One event in so many is kept, as the program does it now.",
	       *status->loaded->variables.sample_n);
}

static void write_process(FILE *out)
{
	struct timespec cpu;
	FILE *statm = fopen("/proc/self/statm", "re");
	unsigned long resident = 0;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
	single(out, "process_cpu_seconds_total", "counter", "CPU time used.", cpu.tv_sec + cpu.tv_nsec / 1e9);
	if (statm && fscanf(statm, "%*u %lu", &resident) == 1)
		single(out, "process_resident_memory_bytes", "gauge", "Resident memory.",
		       (double)resident * sysconf(_SC_PAGESIZE));
	if (statm)
		fclose(statm);
}

static void write_metrics(FILE *out, const struct status *status)
{
	write_events(out, status);
	write_processing(out);
	write_maps(out, status);
	write_settings(out, status);
	single(out, "lab_config_generation", "gauge", "Configurations taken so far; the first is 1.", status->generation);
	head(out, "lab_reloads_total", "counter", "Reloads asked for, by result.");
	fprintf(out, "lab_reloads_total{result=\"ok\"} %llu\n", status->reloads_done);
	fprintf(out, "lab_reloads_total{result=\"failed\"} %llu\n", status->reloads_failed);
	write_process(out);
}

static void write_text(FILE *out, const char *text)
{
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			fprintf(out, "\\%c", *text);
		else
			fputc((unsigned char)*text < ' ' ? ' ' : *text, out);
	}
}

static void write_health(FILE *out, const struct status *status)
{
	fprintf(out, "{\"status\": \"%s\", \"reason\": \"", *status->degraded ? "degraded" : "ok");
	write_text(out, status->degraded);
	fprintf(out, "\", \"generation\": %llu, \"ring_bytes\": %llu}\n", status->generation, status->ring_bytes);
}

static void send_all(int fd, const char *bytes, size_t size)
{
	ssize_t sent;

	while (size && (sent = send(fd, bytes, size, MSG_NOSIGNAL)) > 0) {
		bytes += sent;
		size -= sent;
	}
}

static void respond(int fd, const char *path, const struct status *status)
{
	const char *code = "200 OK", *type = VERSION_TEXT;
	char *body = NULL, top[256];
	size_t size = 0;
	FILE *out = open_memstream(&body, &size);

	if (!out)
		return;
	if (strcmp(path, "/metrics") == 0) {
		write_metrics(out, status);
	} else if (strcmp(path, "/healthz") == 0) {
		code = *status->degraded ? "503 Service Unavailable" : code;
		type = "application/json";
		write_health(out, status);
	} else {
		code = "404 Not Found";
		fprintf(out, "there are /metrics and /healthz\n");
	}
	fclose(out);
	snprintf(top, sizeof(top), "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n",
		 code, type, size);
	send_all(fd, top, strlen(top));
	send_all(fd, body, size);
	free(body);
}

void metrics_answer(int listener, const struct status *status)
{
	struct timeval patience = {.tv_usec = REQUEST_TIMEOUT_US};
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	char request[1024], path[128];
	ssize_t size;

	if (fd < 0)
		return;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	size = recv(fd, request, sizeof(request) - 1, 0);
	if (size > 0) {
		request[size] = '\0';
		if (sscanf(request, "GET %127[^ ?]", path) == 1)
			respond(fd, path, status);
	}
	close(fd);
}
