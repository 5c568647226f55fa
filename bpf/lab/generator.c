/* A paced source of system calls for the practice agent.
 *
 * Some processes of chosen names call getppid(), evenly at a rate, or in bursts at full speed; or they
 * have each handful of calls made by a process of its own, which is gone then. The first argument, which the call ignores, runs through `--keys` values: what the agent caches by.
 * Ends by itself after `--for`, with the process of `--with-pid`, or with its parent, whichever comes
 * first; prints how many calls were made as one line of JSON.
 *
 * A source that was held up makes up for 10 ms at most: a pause of the machine is no burst of ours. */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_SOURCES 64
#define STEP_NS 1000000L
#define MOST_BEHIND_S 0.01

struct source {
	char comm[16];
	double per_s;	    /* paced, when above 0 */
	unsigned long each; /* then, when above 0: so many calls from each short-lived process */
	unsigned long burst; /* else so many calls, every `every_s` */
	double every_s;
};

static struct source sources[MAX_SOURCES];
static size_t source_count;
static unsigned long keys = 256;
static double for_s = 3600;
static int with_pid, die_with_parent;
static const char *pid_file;
static unsigned long *made; /* per source, shared with the children */
static volatile sig_atomic_t ended;

static void end(int signal)
{
	(void)signal;
	ended = 1;
}

static double now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

static void sleep_until(double moment)
{
	struct timespec at = {(time_t)moment, (long)((moment - (time_t)moment) * 1e9)};

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
}

static void call(unsigned long *counter, unsigned long times)
{
	for (unsigned long i = 0; i < times && !ended; i++)
		syscall(SYS_getppid, (*counter)++ % keys);
}

/* Processes of `each` calls, one after the other, until `due` calls are made; how many were. */
static unsigned long call_from_others(const struct source *source, unsigned long *counter, unsigned long due)
{
	unsigned long ours = 0, mine = 0;
	pid_t pid;

	for (; ours + source->each <= due && !ended; ours += source->each) {
		pid = fork();
		if (!pid) {
			call(&mine, source->each);
			_exit(0);
		}
		if (pid < 0)
			break;
		waitpid(pid, NULL, 0);
		*counter += source->each;
	}
	return ours;
}

static void run_paced(const struct source *source, unsigned long *counter, double start, double until)
{
	const double most = source->per_s * MOST_BEHIND_S + source->each + 1;
	double due = 0, now = start, next;

	while (!ended && now < until) {
		next = now_s();
		due += (next - now) * source->per_s;
		due = due > most ? most : due;
		if (source->each) {
			due -= call_from_others(source, counter, (unsigned long)due);
		} else {
			call(counter, (unsigned long)due);
			due -= (unsigned long)due;
		}
		now = next;
		sleep_until(next + STEP_NS / 1e9);
	}
}

static void run_bursts(const struct source *source, unsigned long *counter, double start, double until)
{
	double moment = start;

	while (!ended && moment < until) {
		sleep_until(moment);
		call(counter, source->burst);
		while (moment <= now_s())
			moment += source->every_s;
	}
}

static void run_source(size_t index, double start, pid_t parent)
{
	const struct source *source = &sources[index];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		exit(0);
	prctl(PR_SET_NAME, source->comm);
	sleep_until(start);
	if (source->burst)
		run_bursts(source, &made[index], start, start + for_s);
	else
		run_paced(source, &made[index], start, start + for_s);
	exit(0);
}

/* Until the time is over, we are told to end, or the watched process is gone. */
static void wait_for_end(double until)
{
	int fd = with_pid ? (int)syscall(SYS_pidfd_open, with_pid, 0) : -1;
	struct pollfd gone = {.fd = fd, .events = POLLIN};
	double left;

	if (with_pid && fd < 0)
		return;
	while (!ended && (left = until - now_s()) > 0) {
		if (poll(&gone, 1, left > 1 ? 1000 : (int)(left * 1000) + 1) > 0)
			return;
	}
}

static int run(void)
{
	pid_t pids[MAX_SOURCES], self = getpid();
	double start = now_s() + 0.05, took;
	unsigned long total = 0;

	for (size_t i = 0; i < source_count; i++) {
		pids[i] = fork();
		if (pids[i] < 0) {
			perror("lab-generator: fork");
			return 1;
		}
		if (!pids[i])
			run_source(i, start, self);
	}
	wait_for_end(start + for_s);
	for (size_t i = 0; i < source_count; i++)
		kill(pids[i], SIGTERM);
	for (size_t i = 0; i < source_count; i++)
		waitpid(pids[i], NULL, 0);
	took = now_s() - start;
	for (size_t i = 0; i < source_count; i++)
		total += made[i];
	printf("{\"events\": %lu, \"seconds\": %.3f}\n", total, took);
	if (pid_file)
		unlink(pid_file);
	return 0;
}

static void give_up(const char *why, const char *what)
{
	fprintf(stderr, "lab-generator: %s: %s\n", why, what);
	exit(2);
}

static double number(const char *text, double least)
{
	char *rest;
	double value = strtod(text, &rest);

	if (rest == text || *rest || value < least)
		give_up("not a number in range", text);
	return value;
}

/* `COMM:RATE` calls per second, `COMM:RATE@EACH` so many from each process, or `COMM:BURST/EVERY` calls at
 * once every so many seconds. */
static void add_source(char *text)
{
	struct source *source = &sources[source_count];
	char *rate = strrchr(text, ':'), *every, *each;

	if (source_count == MAX_SOURCES)
		give_up("more than 64 sources", text);
	if (!rate || rate == text || rate - text > 15)
		give_up("a source is COMM:RATE, COMM:RATE@EACH or COMM:BURST/SECONDS, COMM of at most 15 characters", text);
	memcpy(source->comm, text, rate - text);
	each = strchr(++rate, '@');
	if (each) {
		*each++ = '\0';
		source->each = (unsigned long)number(each, 1);
	}
	every = strchr(rate, '/');
	if (every) {
		*every++ = '\0';
		source->burst = (unsigned long)number(rate, 1);
		source->every_s = number(every, 0.001);
	} else {
		source->per_s = number(rate, 0.001);
	}
	source_count++;
}

static void parse(int argc, char **argv)
{
	static const struct option options[] = {
		{"source", required_argument, NULL, 's'},   {"keys", required_argument, NULL, 'k'},
		{"for", required_argument, NULL, 'f'},	    {"with-pid", required_argument, NULL, 'w'},
		{"pid-file", required_argument, NULL, 'p'}, {"die-with-parent", no_argument, &die_with_parent, 1},
		{0}};
	int option;

	while ((option = getopt_long(argc, argv, "s:k:f:w:p:", options, NULL)) != -1) {
		if (option == 's')
			add_source(optarg);
		else if (option == 'k')
			keys = (unsigned long)number(optarg, 1);
		else if (option == 'f')
			for_s = number(optarg, 0);
		else if (option == 'w')
			with_pid = (int)number(optarg, 1);
		else if (option == 'p')
			pid_file = optarg;
		else if (option)
			exit(2);
	}
	if (optind < argc || !source_count)
		give_up("usage", "lab-generator --source COMM:RATE|COMM:RATE@EACH|COMM:BURST/SECONDS [--source …] [--keys N] "
				 "[--for SECONDS] [--with-pid PID] [--pid-file FILE] [--die-with-parent]");
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = end};
	FILE *out;

	parse(argc, argv);
	if (die_with_parent)
		prctl(PR_SET_PDEATHSIG, SIGTERM);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	made = mmap(NULL, MAX_SOURCES * sizeof(*made), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (made == MAP_FAILED)
		give_up("no memory", strerror(errno));
	out = pid_file ? fopen(pid_file, "we") : NULL;
	if (pid_file && !out)
		give_up(pid_file, strerror(errno));
	if (out) {
		fprintf(out, "%d\n", getpid());
		fclose(out);
	}
	return run();
}
