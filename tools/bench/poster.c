/*
 * Posts alerts as Alertmanager does: keep-alive connections, one body after the other, a bearer token.
 *
 *   poster --port N --path P --token T --body FILE --seconds S [--rate R] [--connections C] [--first N]
 *          [--repeat K] [--per-post G] [--acked FILE]
 *
 * With a rate the load is open: post i is due at start + i/R whatever the answers do, and its latency counts from
 * when it was due (no coordinated omission). Without one each connection posts again as soon as it is answered.
 * Of the body, each run of sixteen '@' becomes the number of an alert in hex, and each run of four '%' the same
 * number modulo --causes. Every K-th alert repeats an earlier one. --acked gets one byte per number: how often it
 * was answered 2xx. One line of JSON on stdout.
 *
 * Not here: what the answers mean (figures_webhook.py).
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { MAX_MARKS = 512, MAX_CONNECTIONS = 1024, HEAD = 8192, TICK = 1 << 30 };

struct connection {
	int fd;
	int busy;
	uint64_t due;
	uint64_t first; /* sequence number of the post's first alert */
	size_t sent, got;
	char *out;
	char in[HEAD];
};

static struct {
	int port, connections, per_post, repeat, causes;
	double rate, seconds;
	uint64_t first;
	const char *path, *token, *body, *acked;
} asked = {.connections = 32, .per_post = 1, .causes = 100, .seconds = 10, .path = "/", .token = ""};

static char *request;
static size_t request_size;
static size_t number_at[MAX_MARKS], cause_at[MAX_MARKS];
static int numbers, causes;

static struct connection connections[MAX_CONNECTIONS];
static int idle[MAX_CONNECTIONS], idle_count;
static uint64_t begun, ends, next_post, posted, answered[6], lost, reconnects, alerts_acked;
static uint32_t *latencies; /* µs, of 2xx answers */
static size_t latency_count, latency_room;
static uint8_t *acks;
static size_t acks_room, acks_used;
static int poll_fd;

static void die(const char *what)
{
	fprintf(stderr, "poster: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

/* ── what is posted ─────────────────────────────────────────────────────────── */

static void read_body(void)
{
	FILE *file = fopen(asked.body, "rb");
	if (!file)
		die(asked.body);
	static char body[1 << 20];
	size_t size = fread(body, 1, sizeof(body), file), head;
	fclose(file);
	request = malloc(size + 4096);
	head = (size_t)sprintf(request,
			       "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUser-Agent: Alertmanager/0.25.0\r\n"
			       "Content-Length: %zu\r\nContent-Type: application/json\r\n"
			       "Authorization: Bearer %s\r\nAccept-Encoding: gzip\r\n\r\n",
			       asked.path, asked.port, size, asked.token);
	memcpy(request + head, body, size);
	request_size = head + size;
	for (size_t at = head; at + 16 <= request_size; at++) {
		if (!memcmp(request + at, "@@@@@@@@@@@@@@@@", 16) && numbers < MAX_MARKS) {
			number_at[numbers++] = at;
			at += 15;
		} else if (!memcmp(request + at, "%%%%", 4) && causes < MAX_MARKS) {
			cause_at[causes++] = at;
			at += 3;
		}
	}
}

/* The number of the n-th alert: every K-th repeats one that was sent before. */
static uint64_t number_of(uint64_t n)
{
	if (!asked.repeat)
		return n;
	uint64_t fresh = n - n / (uint64_t)asked.repeat;
	if (n % (uint64_t)asked.repeat != (uint64_t)asked.repeat - 1)
		return fresh;
	uint64_t mixed = (n + 1) * 0x9E3779B97F4A7C15ull;
	return (mixed >> 20) % (fresh ? fresh : 1);
}

static void put(char *at, int width, const char *format, uint64_t value)
{
	char text[32];
	snprintf(text, sizeof(text), format, (unsigned long)value);
	memcpy(at, text, (size_t)width);
}

static void fill(struct connection *c)
{
	for (int i = 0; i < numbers; i++)
		put(c->out + number_at[i], 16, "%016lx", asked.first + number_of(c->first + (uint64_t)(i * asked.per_post / (numbers ? numbers : 1))));
	for (int i = 0; i < causes; i++)
		put(c->out + cause_at[i], 4, "%04lu", number_of(c->first + (uint64_t)(i * asked.per_post / (causes ? causes : 1))) % (uint64_t)asked.causes);
}

/* ── connections ────────────────────────────────────────────────────────────── */

static void connect_to(int index)
{
	struct connection *c = &connections[index];
	struct sockaddr_in where = {.sin_family = AF_INET, .sin_port = htons((uint16_t)asked.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&where, sizeof(where)))
		die("connect");
	int one = 1;
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	fcntl(c->fd, F_SETFL, O_NONBLOCK);
	struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)index};
	if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, c->fd, &event))
		die("epoll_ctl");
	if (!c->out)
		c->out = malloc(request_size);
	memcpy(c->out, request, request_size);
	c->busy = 0;
	idle[idle_count++] = index;
}

static void again(int index)
{
	close(connections[index].fd);
	reconnects++;
	connect_to(index);
}

static void push(int index)
{
	struct connection *c = &connections[index];
	while (c->sent < request_size) {
		ssize_t n = send(c->fd, c->out + c->sent, request_size - c->sent, MSG_NOSIGNAL);
		if (n > 0) {
			c->sent += (size_t)n;
			continue;
		}
		if (n < 0 && errno == EAGAIN) {
			struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.u32 = (uint32_t)index};
			epoll_ctl(poll_fd, EPOLL_CTL_MOD, c->fd, &event);
			return;
		}
		lost++;
		again(index);
		return;
	}
}

static void post(uint64_t due)
{
	int index = idle[--idle_count];
	struct connection *c = &connections[index];
	c->first = posted++ * (uint64_t)asked.per_post;
	c->due = due;
	c->busy = 1;
	c->sent = c->got = 0;
	fill(c);
	push(index);
}

/* ── answers ────────────────────────────────────────────────────────────────── */

static void acknowledge(const struct connection *c)
{
	for (int i = 0; i < asked.per_post; i++) {
		uint64_t number = number_of(c->first + (uint64_t)i);
		while (number >= acks_room) {
			size_t room = acks_room ? acks_room * 2 : 1 << 16;
			acks = realloc(acks, room);
			memset(acks + acks_room, 0, room - acks_room);
			acks_room = room;
		}
		if (number + 1 > acks_used)
			acks_used = number + 1;
		acks[number] += acks[number] < 255;
		alerts_acked++;
	}
}

static void keep(uint64_t ns)
{
	if (latency_count == latency_room) {
		latency_room = latency_room ? latency_room * 2 : 1 << 16;
		latencies = realloc(latencies, latency_room * sizeof(*latencies));
	}
	latencies[latency_count++] = (uint32_t)(ns / 1000 > UINT32_MAX ? UINT32_MAX : ns / 1000);
}

/* Whether the answer is whole; ours and aiohttp's both say how long it is. */
static int whole(struct connection *c, int *status, int *closing)
{
	c->in[c->got] = 0;
	char *end = strstr(c->in, "\r\n\r\n");
	if (!end)
		return 0;
	char *length = strcasestr(c->in, "\r\ncontent-length:");
	size_t body = length && length < end ? strtoul(length + 17, NULL, 10) : 0;
	*status = atoi(c->in + 9);
	char *close_word = strcasestr(c->in, "\r\nconnection: close");
	*closing = close_word && close_word < end;
	return c->got >= (size_t)(end + 4 - c->in) + body;
}

static void take(int index)
{
	struct connection *c = &connections[index];
	int status = 0, closing = 0;
	for (;;) {
		ssize_t n = recv(c->fd, c->in + c->got, HEAD - 1 - c->got, 0);
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			if (c->busy)
				lost++;
			else
				for (int i = 0; i < idle_count; i++)
					if (idle[i] == index) {
						idle[i] = idle[--idle_count];
						break;
					}
			again(index);
			return;
		}
		c->got += (size_t)n;
		if (whole(c, &status, &closing))
			break;
	}
	answered[status / 100 < 6 ? status / 100 : 0]++;
	if (status / 100 == 2) {
		keep(now_ns() - c->due);
		acknowledge(c);
	}
	if (closing)
		again(index);
	else {
		c->busy = 0;
		idle[idle_count++] = index;
	}
}

/* ── the load ───────────────────────────────────────────────────────────────── */

static uint64_t due_at(uint64_t number)
{
	return begun + (uint64_t)((double)number * 1e9 / asked.rate);
}

/* Post what is due; without a rate, on every idle connection. */
static void post_due(int timer)
{
	if (asked.rate <= 0) {
		while (idle_count && now_ns() < ends)
			post(now_ns());
		return;
	}
	while (idle_count && due_at(next_post) <= now_ns() && due_at(next_post) < ends)
		post(due_at(next_post++));
	uint64_t next = due_at(next_post);
	struct itimerspec when = {.it_value = {(time_t)(next / 1000000000ull), (long)(next % 1000000000ull)}};
	if (idle_count && next < ends)
		timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, NULL);
}

static void run(void)
{
	int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
	struct epoll_event events[64], tick = {.events = EPOLLIN, .data.u32 = TICK};
	epoll_ctl(poll_fd, EPOLL_CTL_ADD, timer, &tick);
	begun = now_ns();
	ends = begun + (uint64_t)(asked.seconds * 1e9);
	uint64_t patience = ends + 60000000000ull;
	for (;;) {
		post_due(timer);
		uint64_t now = now_ns();
		int waiting = asked.rate > 0 && due_at(next_post) < ends;
		if ((now >= ends && idle_count == asked.connections && !waiting) || now > patience)
			return;
		int count = epoll_wait(poll_fd, events, 64, 100);
		for (int i = 0; i < count; i++) {
			uint64_t gone;
			if (events[i].data.u32 == TICK) {
				if (read(timer, &gone, sizeof(gone)) < 0 && errno != EAGAIN)
					die("timer");
				continue;
			}
			int index = (int)events[i].data.u32;
			if (events[i].events & EPOLLOUT) {
				struct epoll_event only = {.events = EPOLLIN, .data.u32 = (uint32_t)index};
				epoll_ctl(poll_fd, EPOLL_CTL_MOD, connections[index].fd, &only);
				push(index);
			}
			if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
				take(index);
		}
	}
}

static int by_size(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return x < y ? -1 : x > y;
}

static double share(double part)
{
	if (!latency_count)
		return -1;
	size_t at = (size_t)((double)latency_count * part);
	return latencies[at < latency_count ? at : latency_count - 1] / 1e3;
}

static void tell(double seconds)
{
	uint64_t unanswered = (uint64_t)(asked.connections - idle_count);
	qsort(latencies, latency_count, sizeof(*latencies), by_size);
	printf("{\"posted\": %lu, \"ok\": %lu, \"refused\": %lu, \"failed\": %lu, \"other\": %lu, \"lost\": %lu, "
	       "\"unanswered\": %lu, \"reconnects\": %lu, \"alerts\": %lu, \"numbers\": %zu, \"seconds\": %.3f, "
	       "\"p50_ms\": %.3f, \"p90_ms\": %.3f, \"p99_ms\": %.3f, \"p999_ms\": %.3f, \"max_ms\": %.3f}\n",
	       posted, answered[2], answered[4], answered[5], answered[0] + answered[1] + answered[3], lost, unanswered,
	       reconnects, alerts_acked, acks_used, seconds, share(.5), share(.9), share(.99), share(.999), share(1));
	if (asked.acked) {
		FILE *file = fopen(asked.acked, "wb");
		if (!file || fwrite(acks, 1, acks_used, file) != acks_used || fclose(file))
			die(asked.acked);
	}
}

static void read_options(int count, char **words)
{
	static const struct option known[] = {
		{"port", 1, 0, 'p'}, {"path", 1, 0, 'P'}, {"token", 1, 0, 't'}, {"body", 1, 0, 'b'},
		{"seconds", 1, 0, 's'}, {"rate", 1, 0, 'r'}, {"connections", 1, 0, 'c'}, {"first", 1, 0, 'f'},
		{"repeat", 1, 0, 'k'}, {"per-post", 1, 0, 'g'}, {"acked", 1, 0, 'a'}, {"causes", 1, 0, 'm'}, {0}};
	for (int option; (option = getopt_long(count, words, "", known, NULL)) != -1;) {
		switch (option) {
		case 'p': asked.port = atoi(optarg); break;
		case 'P': asked.path = optarg; break;
		case 't': asked.token = optarg; break;
		case 'b': asked.body = optarg; break;
		case 's': asked.seconds = atof(optarg); break;
		case 'r': asked.rate = atof(optarg); break;
		case 'c': asked.connections = atoi(optarg); break;
		case 'f': asked.first = strtoul(optarg, NULL, 0); break;
		case 'k': asked.repeat = atoi(optarg); break;
		case 'g': asked.per_post = atoi(optarg); break;
		case 'a': asked.acked = optarg; break;
		case 'm': asked.causes = atoi(optarg); break;
		default: exit(2);
		}
	}
	if (!asked.port || !asked.body || asked.connections < 1 || asked.connections > MAX_CONNECTIONS || asked.per_post < 1 || asked.causes < 1)
		exit(2);
}

int main(int count, char **words)
{
	read_options(count, words);
	read_body();
	poll_fd = epoll_create1(EPOLL_CLOEXEC);
	for (int i = 0; i < asked.connections; i++)
		connect_to(i);
	run();
	tell((double)(now_ns() - begun) / 1e9);
	return 0;
}
