/* What happens to an event after the ring: reader → (workers) → export queue → exporter.
 *
 * The reader thread alone touches the ring, also when it is exchanged; others ask it to. With one
 * worker the reader does the work itself; with more it hands batches to worker threads through a
 * bounded queue and waits when that is full, so a slow worker shows as a full ring. The export queue
 * never holds anybody up: what does not fit is dropped and counted. */
#pragma once

#include "config.h"
#include "loader.h"

/* Start all threads with the ring `ring_fd`, which then belongs to the reader. 0 or -errno. */
int reader_start(const struct config *config, struct loaded *loaded, int ring_fd);

/* Let the reader go on with `config` and, unless -1, with the ring `ring_fd` in place of its own,
 * which it reads to its end first. Returns how many events could not be read from the former ring;
 * -ETIMEDOUT: the reader does not answer and everything is as before; else -errno. */
long reader_adopt(const struct config *config, int ring_fd);

/* End all threads that can be ended; those that hang are left to the end of the process. */
void reader_stop(void);
