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
#define RECORD_SAMPLE 9 /* PERF_RECORD_SAMPLE */

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
	u64 next; /* bytes of a record that lies there, header included; 0: none came since the last look */
};

/* Where a record began at the last look: the reader's position. It is there until the ring has turned. */
struct begin {
	u64 event, tail;
};

#define RINGS 1024 /* by descriptor */
struct begin begins[RINGS] SEC(".data.begins"); /* not in .bss: perf_fops is written there as a whole */

struct header { /* perf_event_header */
	u32 type;
	unsigned short misc, size;
};

/* The size of the first record since the last look, read or not. A header is never cut by the end of a page. */
static __always_inline u64 next_record(struct perf_buffer *rb, const struct ring *ring)
{
	u64 pages = BPF_CORE_READ(rb, nr_pages), bytes, at = ring->tail;
	struct begin *begin = &begins[ring->fd % RINGS];
	struct header header = {};
	void **place, *page = 0;

	if (begin->event == ring->event && ring->head - begin->tail <= ring->size)
		at = begin->tail;
	begin->event = ring->event;
	begin->tail = ring->tail;
	if (!pages || ring->head == at)
		return 0;
	bytes = ring->size / pages;
	at &= ring->size - 1;
	place = __builtin_preserve_access_index(&rb->data_pages[0]);
	bpf_probe_read_kernel(&page, sizeof(page), place + at / bytes);
	if (!page || bpf_probe_read_kernel(&header, sizeof(header), page + at % bytes))
		return 0;
	return header.type == RECORD_SAMPLE ? header.size : 0;
}

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
	ring.next = next_record(BPF_CORE_READ(event, rb), &ring);
	bpf_seq_write(ctx->meta->seq, &ring, sizeof(ring));
	return 0;
}
