// SPDX-License-Identifier: GPL-2.0
/* The perf buffers of one process: positions of each CPU's ring, and what the kernel dropped.
 *
 * Read by perfbuf.py. A perf event array shows nothing; the perf events in it are files of the agent,
 * and a file iterator may follow them to their rings. Nothing is mapped, so nothing is disturbed.
 */
#include "kernel.h"

char LICENSE[] SEC("license") = "GPL";

#define SW_BPF_OUTPUT 10 /* PERF_COUNT_SW_BPF_OUTPUT, linux/perf_event.h */
#define SOFTWARE 1

const volatile u32 tgid = 0;
volatile u64 perf_fops; /* 0: only tell the f_op of every file */

struct told {
	u64 fops;
	u32 fd, unused;
};

struct ring {
	u64 event; /* which one: several descriptors may be of the same */
	u32 fd, cpu;
	u64 size, head, tail;
	s64 lost; /* -1: this kernel keeps no count */
};

SEC("iter/task_file")
int rings(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct perf_event_mmap_page *page;
	struct file *file = ctx->file;
	struct perf_event *event;
	struct told told = {};
	struct ring ring = {};

	if (!file || !task || task->tgid != tgid || task->pid != task->tgid)
		return 0;
	told.fops = (u64)file->f_op;
	told.fd = ctx->fd;
	if (!perf_fops) {
		bpf_seq_write(ctx->meta->seq, &told, sizeof(told));
		return 0;
	}
	if (told.fops != perf_fops)
		return 0;
	event = (void *)BPF_CORE_READ(file, private_data);
	page = BPF_CORE_READ(event, rb, user_page);
	if (!page || BPF_CORE_READ(event, attr.type) != SOFTWARE || BPF_CORE_READ(event, attr.config) != SW_BPF_OUTPUT)
		return 0;
	ring.event = (u64)event;
	ring.fd = ctx->fd;
	ring.cpu = BPF_CORE_READ(event, cpu);
	ring.size = BPF_CORE_READ(page, data_size);
	ring.tail = BPF_CORE_READ(page, data_tail);
	ring.head = BPF_CORE_READ(page, data_head);
	ring.lost = -1;
	if (bpf_core_field_exists(event->lost_samples))
		ring.lost = BPF_CORE_READ(event, lost_samples.counter);
	bpf_seq_write(ctx->meta->seq, &ring, sizeof(ring));
	return 0;
}
