/* A small eBPF agent to practise on: main thread and control.
 *
 * Reads its configuration, loads the program, starts the pipeline, then serves metrics, logs once a
 * second what was dropped, reloads on SIGHUP and ends on SIGTERM or SIGINT. A reload that fails leaves
 * everything as it was and shows in the log, the metrics and the health.
 *
 * Not here: what happens to an event (pipeline.c), the kernel half (loader.c). */
#include <bpf/libbpf.h>
#include <errno.h>
#include <getopt.h>
#include <libgen.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "config.h"
#include "loader.h"
#include "log.h"
#include "metrics.h"
#include "pipeline.h"

#define CACHE_EVERY_TICKS 2

struct agent {
	const char *config_file, *pid_file;
	char object_file[4096];
	long seconds; /* to live; 0: until told to end */
	struct config config;
	struct loaded loaded;
	struct status status;
	char degraded[1024];
	__u64 logged_drops, ticks;
};

static void set_variables(struct agent *agent, const struct config *config)
{
	struct variables *v = &agent->loaded.variables;

	*v->wakeup = config->wakeup;
	*v->wakeup_bytes = config->wakeup_bytes;
	*v->cache_on = config->cache_entries > 0;
	/* a rate that somebody set through the variable stands until the file says another */
	if (!agent->status.generation || config->sample_one_in != agent->config.sample_one_in)
		*v->sample_n = config->sample_one_in;
}

/* ── reload ── */

static int refuse(struct agent *agent, const char *reason)
{
	log_line(LOG_ERROR, "reload: %s; the former configuration stays in force", reason);
	snprintf(agent->degraded, sizeof(agent->degraded), "%s", reason);
	agent->status.reloads_failed++;
	return -1;
}

static int reload_cache(struct agent *agent, const struct config *next)
{
	struct loaded fresh;

	if (next->cache_entries == agent->loaded.cache_entries && next->cache_lru == agent->loaded.cache_lru)
		return 0;
	if (loader_load(&fresh, agent->object_file, next, &agent->loaded) || loader_attach(&fresh, &agent->loaded))
		return -1;
	agent->loaded = fresh;
	log_line(LOG_INFO, "cache: now %llu entries, %s; it starts empty", next->cache_entries,
		 next->cache_lru ? "lru_hash" : "hash");
	return 0;
}

/* Make the reader go on as `next` says, in a ring of its size. */
static int reload_reader(struct agent *agent, const struct config *next)
{
	__u64 size = ring_size(next->ring_bytes), before = *agent->loaded.variables.dropped;
	int fd = size != agent->status.ring_bytes ? ring_create(size) : -1;
	long lost;

	if (size != agent->status.ring_bytes && fd < 0) {
		log_line(LOG_ERROR, "ringbuf: cannot make one of %llu bytes: %s", size, strerror(-fd));
		return -1;
	}
	lost = pipeline_adopt(next, fd);
	if (lost < 0) {
		log_line(LOG_ERROR, "reader: cannot take the new configuration: %s", strerror(-lost));
		if (fd >= 0)
			close(fd);
		return -1;
	}
	if (fd >= 0)
		log_line(LOG_INFO, "ringbuf: %llu bytes (%llu asked for), was %llu; events lost in the swap: %llu", size,
			 next->ring_bytes, agent->status.ring_bytes,
			 lost + (*agent->loaded.variables.dropped - before));
	agent->status.ring_bytes = size;
	return 0;
}

static int reload(struct agent *agent)
{
	char reason[1024];
	struct config next;

	log_line(LOG_INFO, "reload: reading %s", agent->config_file);
	if (config_read(agent->config_file, &next, reason, sizeof(reason)))
		return refuse(agent, reason);
	if (next.metrics_port != agent->config.metrics_port || strcmp(next.log_file, agent->config.log_file) ||
	    strcmp(next.export_to, agent->config.export_to))
		log_line(LOG_WARN, "reload: metrics.port, log.file and exporter.to take a restart to change");
	if (reload_reader(agent, &next))
		return refuse(agent, "the reader did not take the new configuration");
	if (reload_cache(agent, &next))
		return refuse(agent, "the program could not be loaded with the new cache");
	if (loader_filter(&agent->loaded, &next))
		return refuse(agent, "the filters could not be set");
	set_variables(agent, &next);
	agent->config = next;
	agent->degraded[0] = '\0';
	agent->status.generation++;
	agent->status.reloads_done++;
	log_line(LOG_INFO, "reload: configuration %llu in force", agent->status.generation);
	return 0;
}

/* ── the main loop ── */

static void tick(struct agent *agent)
{
	__u64 drops = *agent->loaded.variables.dropped;
	__u64 ttl_ns = agent->config.cache_clean ? agent->config.cache_ttl_ns : 0;

	if (drops != agent->logged_drops)
		log_line(LOG_WARN, "ringbuf: dropped events: %llu", drops);
	agent->logged_drops = drops;
	if (agent->config.cache_entries && agent->ticks++ % CACHE_EVERY_TICKS == 0)
		agent->status.cache_entries = cache_sweep(&agent->loaded, ttl_ns);
}

static int open_signals(void)
{
	sigset_t wanted;

	sigemptyset(&wanted);
	sigaddset(&wanted, SIGHUP);
	sigaddset(&wanted, SIGTERM);
	sigaddset(&wanted, SIGINT);
	sigprocmask(SIG_BLOCK, &wanted, NULL); /* inherited by every thread */
	signal(SIGPIPE, SIG_IGN);
	return signalfd(-1, &wanted, SFD_CLOEXEC);
}

static int open_timer(void)
{
	const struct itimerspec every = {.it_interval = {.tv_sec = 1}, .it_value = {.tv_sec = 1}};
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);

	if (fd >= 0)
		timerfd_settime(fd, 0, &every, NULL);
	return fd;
}

/* Serve until told to end; the name of the reason. */
static const char *serve(struct agent *agent, int signals, int timer, int listener)
{
	struct pollfd wait[] = {{.fd = signals, .events = POLLIN},
				{.fd = timer, .events = POLLIN},
				{.fd = listener, .events = POLLIN}};
	struct signalfd_siginfo signal;
	__u64 seconds, lived = 0;

	for (;;) {
		if (poll(wait, 3, -1) < 0 && errno != EINTR)
			return strerror(errno);
		if (wait[0].revents && read(signals, &signal, sizeof(signal)) == sizeof(signal)) {
			if (signal.ssi_signo != SIGHUP)
				return strsignal(signal.ssi_signo);
			reload(agent);
		}
		if (wait[1].revents && read(timer, &seconds, sizeof(seconds)) == sizeof(seconds)) {
			tick(agent);
			lived += seconds;
			if (agent->seconds && lived >= (__u64)agent->seconds)
				return "its time is over";
		}
		if (wait[2].revents)
			metrics_answer(listener, &agent->status);
	}
}

/* ── start ── */

static int log_libbpf(enum libbpf_print_level level, const char *format, va_list arguments)
{
	char *text = NULL, *line, *rest;

	if (level == LIBBPF_DEBUG || vasprintf(&text, format, arguments) < 0)
		return 0;
	rest = text;
	while ((line = strsep(&rest, "\n"))) {
		if (*line)
			log_line(level == LIBBPF_WARN ? LOG_WARN : LOG_INFO, "%s", line);
	}
	free(text);
	return 0;
}

static int write_pid(const char *file)
{
	FILE *out = file ? fopen(file, "we") : NULL;

	if (file && !out) {
		log_line(LOG_ERROR, "%s: %s", file, strerror(errno));
		return -1;
	}
	if (out) {
		fprintf(out, "%d\n", getpid());
		fclose(out);
	}
	return 0;
}

static int start(struct agent *agent)
{
	int fd;

	agent->status.ring_bytes = ring_size(agent->config.ring_bytes);
	fd = ring_create(agent->status.ring_bytes);
	if (fd < 0) {
		log_line(LOG_ERROR, "ringbuf: cannot make one of %llu bytes: %s", agent->status.ring_bytes, strerror(-fd));
		return -1;
	}
	log_line(LOG_INFO, "ringbuf: %llu bytes (%llu asked for)", agent->status.ring_bytes, agent->config.ring_bytes);
	if (loader_load(&agent->loaded, agent->object_file, &agent->config, NULL))
		return -1;
	set_variables(agent, &agent->config);
	if (loader_filter(&agent->loaded, &agent->config) || ring_use(&agent->loaded, fd) ||
	    pipeline_start(&agent->config, &agent->loaded, fd)) {
		log_line(LOG_ERROR, "cannot start: %s", strerror(errno));
		return -1;
	}
	agent->status.generation = 1;
	return loader_attach(&agent->loaded, NULL); /* last, so that every event meets filters and a ring */
}

static int run(struct agent *agent)
{
	int signals = open_signals(), timer = open_timer(), listener;
	const char *why;

	listener = metrics_listen(&agent->config);
	if (listener < 0) {
		log_line(LOG_ERROR, "cannot listen on %s:%llu: %s", agent->config.metrics_address,
			 agent->config.metrics_port, strerror(-listener));
		return 1;
	}
	if (start(agent))
		return 1;
	log_line(LOG_INFO, "ready: metrics on http://%s:%llu/metrics", agent->config.metrics_address,
		 agent->config.metrics_port);
	why = serve(agent, signals, timer, listener);
	log_line(LOG_INFO, "ends: %s; received %llu, dropped %llu", why, *agent->loaded.variables.received,
		 *agent->loaded.variables.dropped);
	pipeline_stop();
	loader_close(&agent->loaded);
	return 0;
}

static void find_object(struct agent *agent)
{
	char self[4000];
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);

	self[length < 0 ? 0 : length] = '\0';
	snprintf(agent->object_file, sizeof(agent->object_file), "%s/agent.bpf.o", dirname(self));
}

static int parse(struct agent *agent, int argc, char **argv)
{
	static const struct option options[] = {{"config", required_argument, NULL, 'c'},
						{"pid-file", required_argument, NULL, 'p'},
						{"for", required_argument, NULL, 'f'},
						{0}};
	int option;

	agent->config_file = "/etc/lab-agent.yaml";
	while ((option = getopt_long(argc, argv, "c:p:f:", options, NULL)) != -1) {
		if (option == 'c')
			agent->config_file = optarg;
		else if (option == 'p')
			agent->pid_file = optarg;
		else if (option == 'f')
			agent->seconds = atol(optarg);
		else
			return -1;
	}
	return optind == argc ? 0 : -1;
}

int main(int argc, char **argv)
{
	static struct agent agent;
	char reason[1024];
	int result;

	agent.status.loaded = &agent.loaded;
	agent.status.config = &agent.config;
	agent.status.degraded = agent.degraded;
	if (parse(&agent, argc, argv)) {
		fprintf(stderr, "usage: lab-agent [--config FILE] [--pid-file FILE] [--for SECONDS]\n");
		return 2;
	}
	if (config_read(agent.config_file, &agent.config, reason, sizeof(reason))) {
		log_line(LOG_ERROR, "%s", reason);
		return 2;
	}
	result = log_open(agent.config.log_file);
	if (result || write_pid(agent.pid_file)) {
		log_line(LOG_ERROR, "%s: %s", agent.config.log_file, strerror(-result));
		return 2;
	}
	find_object(&agent);
	libbpf_set_print(log_libbpf);
	result = run(&agent);
	if (agent.pid_file)
		unlink(agent.pid_file);
	return result;
}
