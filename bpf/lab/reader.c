#include "reader.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "counts.h"
#include "exporter.h"
#include "log.h"
#include "work.h"
#include "workers.h"

#define MAX_BATCH 4096
#define ADOPT_TIMEOUT_S 3
#define LAST_DRAIN_NS 1000000000ULL /* of the former ring, when it is exchanged */
#define EVERY_TIMEOUT_MS 100	    /* with `wakeup: every` the last few bytes would wait for ever */

/* The reader's own: nobody else touches these while it runs. */
static struct config config;
static struct loaded *kernel_side;
static struct ring_buffer *ring;
static int ring_fd = -1;
static struct event batch[MAX_BATCH];
static size_t batched;
static pthread_t thread;

/* Shared. */
static int wake_fd = -1;
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

static __u64 now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (__u64)now.tv_sec * 1000000000 + now.tv_nsec;
}

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
	workers_take(batch, batched);
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
	long lost = 0;
	int error = 0;

	if (next->export_queue_size != config.export_queue_size)
		error = exporter_resize(next->export_queue_size);
	if (!error && fd >= 0)
		lost = exchange_ring(fd);
	if (error || lost < 0) {
		exporter_resize(config.export_queue_size);
		return error ? error : lost;
	}
	workers_stop();
	config = *next;
	error = workers_start(&config);
	if (error)
		log_line(LOG_ERROR, "reader: not all workers could be started: %s", strerror(-error));
	return lost;
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
	workers_stop();
	return NULL;
}

/* ── from outside ── */

int reader_start(const struct config *initial, struct loaded *loaded, int fd)
{
	int error;

	config = *initial;
	kernel_side = loaded;
	ring_fd = fd;
	ring = open_ring(fd);
	wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!ring || wake_fd < 0)
		return -errno;
	work_calibrate();
	error = exporter_start(config.export_to, config.export_queue_size, config.export_ns);
	error = error ? error : workers_start(&config);
	return error ? error : -pthread_create(&thread, NULL, read_loop, NULL);
}

static void wake(void)
{
	const __u64 one = 1;

	if (write(wake_fd, &one, sizeof(one)) < 0)
		log_line(LOG_WARN, "reader: cannot be woken: %s", strerror(errno));
}

long reader_adopt(const struct config *next, int fd)
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
	wake();
	while (request.config && late != ETIMEDOUT)
		late = pthread_cond_timedwait(&request.answered, &request.lock, &deadline);
	answer = request.config ? -ETIMEDOUT : request.answer;
	request.config = NULL;
	pthread_mutex_unlock(&request.lock);
	return answer;
}

void reader_stop(void)
{
	struct timespec deadline;

	clock_gettime(CLOCK_REALTIME, &deadline);
	deadline.tv_sec += 1;
	atomic_store(&stopping, true);
	wake();
	if (pthread_timedjoin_np(thread, NULL, &deadline))
		log_line(LOG_WARN, "reader: does not end; left behind");
	exporter_stop(&deadline);
}
