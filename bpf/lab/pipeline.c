#include "pipeline.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "queue.h"
#include "work.h"

#define MAX_BATCH 4096
#define MAX_WORKERS 64
#define ADOPT_TIMEOUT_S 3
#define LAST_DRAIN_NS 1000000000ULL /* of the former ring, when it is exchanged */
#define EVERY_TIMEOUT_MS 100	    /* with `wakeup: every` the last few bytes would wait for ever */

struct counts counts;
const double processing_bounds_s[PROCESSING_BUCKETS] = {1e-6, 2.5e-6, 5e-6, 1e-5, 2.5e-5, 5e-5,
							1e-4, 2.5e-4, 5e-4, 1e-3, 1e-2,	  1e-1};

/* The reader's own: nobody else touches these while it runs. */
static struct config config;
static struct loaded *kernel_side;
static struct ring_buffer *ring;
static int ring_fd = -1;
static struct event batch[MAX_BATCH];
static size_t batched;
static pthread_t reader, exporter, workers[MAX_WORKERS];
static size_t worker_count;
static struct queue work_queue;

/* Shared. */
static struct queue export_queue;
static int wake_fd = -1, stop_fd = -1;
static atomic_bool stopping;

/* The one request that may stand before the reader. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t answered;
	const struct config *config; /* NULL: none */
	int ring_fd;
	long answer;
} request = {.lock = PTHREAD_MUTEX_INITIALIZER, .answered = PTHREAD_COND_INITIALIZER};
static atomic_bool requested;

static void count(__u64 *counter, __u64 by)
{
	__atomic_fetch_add(counter, by, __ATOMIC_RELAXED);
}

static __u64 now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (__u64)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* ── work on events ── */

static void observe(__u64 took_ns)
{
	size_t bucket = 0;

	while (bucket < PROCESSING_BUCKETS && took_ns > processing_bounds_s[bucket] * 1e9)
		bucket++;
	count(&counts.processing[bucket], 1);
	count(&counts.processing_ns, took_ns);
	count(&counts.processing_count, 1);
}

/* Decode, enrich, hand on: the price of an event is `practice.work_per_event`, in real CPU time. */
static void process(const struct event *events, size_t n)
{
	__u64 before = now_ns(), after;
	size_t kept;

	for (size_t i = 0; i < n; i++) {
		work(config.work_ns, &events[i]);
		leak(config.leak_bytes, config.leak_limit_bytes);
		after = now_ns();
		observe(after - before);
		before = after;
	}
	kept = queue_push(&export_queue, events, n, false);
	count(&counts.queue_dropped, n - kept);
}

static void *work_loop(void *unused)
{
	struct event *events = malloc(MAX_BATCH * sizeof(*events));
	size_t n;

	(void)unused;
	pthread_setname_np(pthread_self(), "worker");
	while (events && (n = queue_pop(&work_queue, events, config.batch_size)))
		process(events, n);
	free(events);
	return NULL;
}

static int start_workers(void)
{
	int error;

	worker_count = 0;
	if (config.workers <= 1)
		return 0;
	error = queue_init(&work_queue, config.queue_size);
	while (!error && worker_count < config.workers) {
		error = -pthread_create(&workers[worker_count], NULL, work_loop, NULL);
		worker_count += !error;
	}
	return error;
}

/* Every event that was handed over is worked on before this returns. */
static void stop_workers(void)
{
	if (!worker_count)
		return;
	queue_close(&work_queue);
	for (size_t i = 0; i < worker_count; i++)
		pthread_join(workers[i], NULL);
	queue_free(&work_queue);
	worker_count = 0;
}

/* ── the reader ── */

static int collect(void *unused, void *record, size_t size)
{
	(void)unused;
	if (size >= sizeof(struct event))
		memcpy(&batch[batched++], record, sizeof(struct event));
	return batched >= config.batch_size ? -ECANCELED : 0; /* ends this round; the record counts as read */
}

/* Read and hand on one batch at most; how many events it had. */
static size_t read_batch(void)
{
	batched = 0;
	ring_buffer__consume(ring);
	count(&counts.received, batched);
	if (worker_count)
		queue_push(&work_queue, batch, batched, true);
	else
		process(batch, batched);
	return batched;
}

static void wait_for_events(void)
{
	struct pollfd wait[2] = {{.fd = wake_fd, .events = POLLIN}, {.fd = ring_fd, .events = POLLIN}};
	struct timespec interval = {config.poll_interval_ns / 1000000000, config.poll_interval_ns % 1000000000};
	__u64 ignored;

	if (config.poll_interval_ns)
		ppoll(wait, 1, &interval, NULL);
	else if (config.wakeup != WAKEUP_NONE) /* none and no interval: busy polling */
		poll(wait, 2, config.wakeup == WAKEUP_EVERY ? EVERY_TIMEOUT_MS : -1);
	if (wait[0].revents & POLLIN && read(wake_fd, &ignored, sizeof(ignored)) < 0 && errno != EAGAIN)
		log_line(LOG_WARN, "reader: cannot read its wake-up: %s", strerror(errno));
}

static struct ring_buffer *open_ring(int fd)
{
	return ring_buffer__new(fd, collect, NULL, NULL);
}

/* Bytes that lie in the ring `fd`, by its own positions. */
static __u64 pending_bytes(int fd)
{
	const size_t page = sysconf(_SC_PAGESIZE);
	volatile __u64 *consumer = mmap(NULL, page, PROT_READ, MAP_SHARED, fd, 0);
	volatile __u64 *producer = mmap(NULL, page, PROT_READ, MAP_SHARED, fd, page);
	__u64 bytes = 0;

	if (consumer != MAP_FAILED && producer != MAP_FAILED)
		bytes = *producer - *consumer;
	if (consumer != MAP_FAILED)
		munmap((void *)consumer, page);
	if (producer != MAP_FAILED)
		munmap((void *)producer, page);
	return bytes;
}

/* Go over to the ring `fd`: new events go there first, then what is left in the old one is read. */
static long exchange_ring(int fd)
{
	struct ring_buffer *opened = open_ring(fd);
	int error = opened ? ring_use(kernel_side, fd) : -errno;
	__u64 give_up = now_ns() + LAST_DRAIN_NS;
	long lost;

	if (error) {
		ring_buffer__free(opened);
		return error;
	}
	while (now_ns() < give_up && read_batch())
		;
	lost = pending_bytes(ring_fd) / (sizeof(struct event) + 8);
	count(&counts.swap_lost, lost);
	ring_buffer__free(ring);
	close(ring_fd);
	ring = opened;
	ring_fd = fd;
	return lost;
}

static long adopt(const struct config *next, int fd)
{
	long lost = fd >= 0 ? exchange_ring(fd) : 0, more;

	if (lost < 0)
		return lost;
	stop_workers(); /* they read the settings without a lock */
	more = next->export_queue_size != config.export_queue_size
		       ? queue_resize(&export_queue, next->export_queue_size)
		       : 0;
	if (more > 0)
		count(&counts.queue_dropped, more);
	config = *next;
	if (start_workers())
		log_line(LOG_ERROR, "reader: only %zu workers could be started", worker_count);
	return more < 0 ? more : lost;
}

static void answer_request(void)
{
	if (!atomic_load(&requested))
		return;
	pthread_mutex_lock(&request.lock);
	if (request.config) {
		request.answer = adopt(request.config, request.ring_fd);
		request.config = NULL;
		pthread_cond_signal(&request.answered);
	}
	atomic_store(&requested, false);
	pthread_mutex_unlock(&request.lock);
}

/* The fault `stuck`: wait for something that never comes, as on a lost lock. */
static void hang(void)
{
	for (;;)
		pause();
}

static void *read_loop(void *unused)
{
	(void)unused;
	pthread_setname_np(pthread_self(), "reader");
	while (!atomic_load(&stopping)) {
		wait_for_events();
		do {
			answer_request();
			if (config.stuck_after_events && counts.received >= config.stuck_after_events)
				hang();
		} while (read_batch() == config.batch_size && !atomic_load(&stopping));
	}
	stop_workers();
	return NULL;
}

/* ── the exporter ── */

/* Write all, waiting as long as the other side takes nothing; false: told to stop meanwhile. */
static bool write_all(int fd, const char *bytes, size_t size)
{
	struct pollfd wait[2] = {{.fd = fd, .events = POLLOUT}, {.fd = stop_fd, .events = POLLIN}};
	ssize_t written;

	while (size) {
		poll(wait, 2, -1);
		if (wait[1].revents)
			return false;
		written = write(fd, bytes, size);
		if (written < 0 && errno != EAGAIN && errno != EINTR)
			return false;
		if (written > 0) {
			bytes += written;
			size -= written;
		}
	}
	return true;
}

static int open_export(const char *to)
{
	struct stat status;
	/* a FIFO opened for reading too does not wait for somebody at its other end */
	bool fifo = stat(to, &status) == 0 && S_ISFIFO(status.st_mode);

	return open(to, (fifo ? O_RDWR : O_WRONLY | O_CREAT | O_APPEND) | O_NONBLOCK | O_CLOEXEC, 0600);
}

static void *export_loop(void *argument)
{
	int fd = (int)(long)argument;
	struct event events[256];
	size_t n;

	pthread_setname_np(pthread_self(), "exporter");
	while ((n = queue_pop(&export_queue, events, 256))) {
		if (!write_all(fd, (const char *)events, n * sizeof(*events)))
			break;
		count(&counts.exported, n);
	}
	close(fd);
	return NULL;
}

/* ── from outside ── */

int pipeline_start(const struct config *initial, struct loaded *loaded, int fd)
{
	int out = open_export(initial->export_to), error;

	if (out < 0) {
		error = -errno;
		log_line(LOG_ERROR, "cannot open exporter.to %s: %s", initial->export_to, strerror(-error));
		return error;
	}
	config = *initial;
	kernel_side = loaded;
	ring_fd = fd;
	ring = open_ring(fd);
	wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	stop_fd = eventfd(0, EFD_CLOEXEC);
	if (!ring || wake_fd < 0 || stop_fd < 0)
		return -errno;
	work_calibrate();
	error = queue_init(&export_queue, config.export_queue_size);
	error = error ? error : -pthread_create(&exporter, NULL, export_loop, (void *)(long)out);
	error = error ? error : start_workers();
	return error ? error : -pthread_create(&reader, NULL, read_loop, NULL);
}

static void wake(int fd)
{
	const __u64 one = 1;

	if (write(fd, &one, sizeof(one)) < 0)
		log_line(LOG_WARN, "cannot wake a thread: %s", strerror(errno));
}

long pipeline_adopt(const struct config *next, int fd)
{
	struct timespec deadline;
	long answer;
	int late = 0;

	clock_gettime(CLOCK_REALTIME, &deadline);
	deadline.tv_sec += ADOPT_TIMEOUT_S;
	pthread_mutex_lock(&request.lock);
	request.config = next;
	request.ring_fd = fd;
	atomic_store(&requested, true);
	wake(wake_fd);
	while (request.config && late != ETIMEDOUT)
		late = pthread_cond_timedwait(&request.answered, &request.lock, &deadline);
	answer = request.config ? -ETIMEDOUT : request.answer;
	request.config = NULL;
	pthread_mutex_unlock(&request.lock);
	return answer;
}

void pipeline_stop(void)
{
	struct timespec deadline;

	clock_gettime(CLOCK_REALTIME, &deadline);
	deadline.tv_sec += 1;
	atomic_store(&stopping, true);
	wake(wake_fd);
	wake(stop_fd);
	if (pthread_timedjoin_np(reader, NULL, &deadline))
		log_line(LOG_WARN, "reader: does not end; left behind");
	queue_close(&export_queue);
	pthread_timedjoin_np(exporter, NULL, &deadline);
}
