/* A small eBPF agent to practise on: main thread and control.
 *
 * Reads its configuration, loads the program, starts the pipeline, then serves metrics, logs once a
 * second what was dropped, reloads on SIGHUP and ends on SIGTERM or SIGINT. A reload that fails leaves
 * everything as it was and shows in the log, the metrics and the health.
 *
 * Not here: what happens to an event (reader.c), the kernel half (loader.c), taking over a changed
 * configuration (reload.c). */
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

#include "agent.h"
#include "confine.h"
#include "log.h"
#include "memory.h"
#include "reader.h"
#include "supervise.h"

#define SPIKE_EVERY_TICKS 5
#define FIRST_SPIKE 3

/* ── the main loop ── */

static void tick(struct agent *agent)
{
	__u64 drops = *agent->loaded.variables.dropped;
	__u64 ttl_ns = agent->config.cache_clean ? agent->config.cache_ttl_ns : 0;

	if (drops != agent->logged_drops)
		log_line(LOG_WARN, "ringbuf: dropped events: %llu", drops);
	agent->logged_drops = drops;
	if (agent->config.cache_entries)
		agent->status.cache_entries = cache_sweep(&agent->loaded, ttl_ns);
	if (agent->config.spike_bytes && ++agent->ticks % SPIKE_EVERY_TICKS == FIRST_SPIKE) {
		spike(agent->config.spike_bytes);
		log_line(LOG_INFO, "heap: %llu MiB were needed, and are free again", agent->config.spike_bytes >> 20);
	}
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
	settings_store(agent, &agent->config);
	if (loader_filter(&agent->loaded, &agent->config) || ring_use(&agent->loaded, fd) ||
	    reader_start(&agent->config, &agent->loaded, fd)) {
		log_line(LOG_ERROR, "cannot start: %s", strerror(errno));
		return -1;
	}
	agent->status.generation = 1;
	if (loader_attach(&agent->loaded, NULL)) /* so late that every event meets filters and a ring */
		return -1;
	optional_follow(&agent->optional, agent->object_file, &agent->config, &agent->loaded); /* or without */
	return 0;
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
	if (confine(&agent->config) || start(agent))
		return 1;
	alarm(0); /* see begin_anew() */
	log_line(LOG_INFO, "ready: metrics on http://%s:%llu/metrics", agent->config.metrics_address,
		 agent->config.metrics_port);
	why = serve(agent, signals, timer, listener);
	log_line(LOG_INFO, "ends: %s; received %llu, dropped %llu", why, *agent->loaded.variables.received,
		 *agent->loaded.variables.dropped);
	reader_stop();
	optional_close(&agent->optional);
	loader_close(&agent->loaded);
	loader_unpin(&agent->config);
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
						{"supervise", no_argument, NULL, 's'},
						{0}};
	int option;

	agent->config_file = "/etc/lab-agent.yaml";
	while ((option = getopt_long(argc, argv, "c:p:f:s", options, NULL)) != -1) {
		if (option == 'c')
			agent->config_file = optarg;
		else if (option == 'p')
			agent->pid_file = optarg;
		else if (option == 'f')
			agent->seconds = atol(optarg);
		else if (option == 's')
			agent->supervised = true;
		else
			return -1;
	}
	return optind == argc ? 0 : -1;
}

/* What a supervisor does for other agents: after a pause begin anew, with the rights and the settings of
 * then. Comes back only when it is told to end meanwhile. */
static void begin_anew(struct agent *agent, char **argv)
{
	const struct timespec pause = {.tv_sec = agent->config.retry_ns / 1000000000,
				       .tv_nsec = agent->config.retry_ns % 1000000000};
	unsigned int left = alarm(0);
	char self[4096] = {0};
	sigset_t end;

	alarm(left ? left : agent->seconds); /* outlives the exec, so that its time is over in any case */
	sigemptyset(&end);
	sigaddset(&end, SIGTERM);
	sigaddset(&end, SIGINT);
	log_line(LOG_INFO, "cannot start; trying again in %llu ms", agent->config.retry_ns / 1000000);
	if (sigtimedwait(&end, NULL, &pause) < 0 && readlink("/proc/self/exe", self, sizeof(self) - 1) > 0) {
		execv(self, argv);
		log_line(LOG_ERROR, "%s: %s", self, strerror(errno));
	}
}

int main(int argc, char **argv)
{
	static struct agent agent;
	char reason[1024];
	int result;

	agent.status.loaded = &agent.loaded;
	agent.status.optional = &agent.optional;
	agent.status.config = &agent.config;
	agent.status.degraded = agent.degraded;
	if (parse(&agent, argc, argv)) {
		fprintf(stderr, "usage: lab-agent [--config FILE] [--pid-file FILE] [--for SECONDS] [--supervise]\n");
		return 2;
	}
	if (agent.supervised) {
		alarm(agent.seconds);
		supervise();
		alarm(0); /* of the supervisor; we count for ourselves */
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
	if (result && agent.config.retry_ns)
		begin_anew(&agent, argv);
	if (agent.pid_file)
		unlink(agent.pid_file);
	return result;
}
