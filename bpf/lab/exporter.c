#include "exporter.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "counts.h"
#include "log.h"
#include "queue.h"

static struct queue queue;
static pthread_t thread;
static int out = -1, stop_fd = -1;
static __u64 slowness_ns; /* what the other end takes for each event */

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

/* Wait as long as a slow receiver would make us. */
static bool told_to_stop(__u64 ns)
{
	struct pollfd stop = {.fd = stop_fd, .events = POLLIN};
	struct timespec wait = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};

	return ns && ppoll(&stop, 1, &wait, NULL) > 0;
}

static int open_export(const char *to)
{
	struct stat status;
	/* a FIFO opened for reading too does not wait for somebody at its other end */
	bool fifo = stat(to, &status) == 0 && S_ISFIFO(status.st_mode);

	return open(to, (fifo ? O_RDWR : O_WRONLY | O_CREAT | O_APPEND) | O_NONBLOCK | O_CLOEXEC, 0600);
}

static void *export_loop(void *unused)
{
	struct event events[256];
	size_t n;

	(void)unused;
	pthread_setname_np(pthread_self(), "exporter");
	while ((n = queue_pop(&queue, events, 256))) {
		if (!write_all(out, (const char *)events, n * sizeof(*events)) || told_to_stop(n * slowness_ns))
			break;
		count(&counts.exported, n);
	}
	return NULL;
}

int exporter_start(const char *to, size_t queue_size, __u64 ns_per_event)
{
	int error;

	slowness_ns = ns_per_event;
	out = open_export(to);
	if (out < 0) {
		error = -errno;
		log_line(LOG_ERROR, "cannot open exporter.to %s: %s", to, strerror(-error));
		return error;
	}
	stop_fd = eventfd(0, EFD_CLOEXEC);
	if (stop_fd < 0)
		return -errno;
	error = queue_init(&queue, queue_size);
	return error ? error : -pthread_create(&thread, NULL, export_loop, NULL);
}

void exporter_take(const struct event *events, size_t n)
{
	count(&counts.queue_dropped, n - queue_push(&queue, events, n, false));
}

int exporter_resize(size_t queue_size)
{
	long lost = queue_resize(&queue, queue_size);

	if (lost < 0)
		return lost;
	count(&counts.queue_dropped, lost);
	return 0;
}

void exporter_stop(const struct timespec *deadline)
{
	const __u64 one = 1;

	queue_close(&queue);
	if (write(stop_fd, &one, sizeof(one)) == sizeof(one))
		pthread_timedjoin_np(thread, NULL, deadline);
}
