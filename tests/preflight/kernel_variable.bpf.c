/* A variable of the kernel, by its type. */
#include "small.h"

struct rq {
	unsigned int nr_running;
} READ;
extern const struct rq runqueues __ksym;

SEC("raw_tp/sys_enter")
int kernel_variable(void *ctx)
{
	struct rq *queue = bpf_per_cpu_ptr(&runqueues, 0);

	return queue ? queue->nr_running > 1000 : 0;
}
