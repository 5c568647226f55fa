// SPDX-License-Identifier: GPL-2.0
/* All BPF maps, programs, links and the files that hold them, as fixed binary records.
 *
 * Read by inventory.py, which knows the same layouts. Each iterator writes one record per object.
 * Kernel 5.8 (links 5.19); the element count is used where the kernel has it (6.6).
 */
#include "kernel.h"

char LICENSE[] SEC("license") = "GPL";

#define MAX_CPUS 512
#define PLACE 64

enum { TYPE_HASH = 1, TYPE_PERCPU_HASH = 5, TYPE_LRU = 9, TYPE_PERCPU_LRU = 10, TYPE_HASH_OF_MAPS = 13, TYPE_RINGBUF = 27 };
enum { LINK_RAW_TRACEPOINT = 1, LINK_PERF_EVENT = 7 };

extern s64 bpf_map_sum_elem_count(const struct bpf_map *map) __ksym __weak;

/* How many CPUs the loops visit: known to the verifier, so that it checks no more than there are. */
const volatile u32 cpus = 0;

/* Kernel addresses that this machine was asked for once, at set-up. */
struct known {
	u64 map_fops, prog_fops, link_fops, perf_fops;
	u32 calibrated_tgid; /* not 0: only tell the f_op of this process's files */
	u32 own_map;
	u64 percpu_offset[MAX_CPUS];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct known);
} known SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
} percpu SEC(".maps");

static struct known *what_is_known(void)
{
	u32 zero = 0;

	return bpf_map_lookup_elem(&known, &zero);
}

struct map_record {
	u32 id, type, key_size, value_size, max_entries, flags, btf_id, frozen;
	s64 entries;
	u64 producer, consumer;
	char name[16];
};

SEC("iter/bpf_map")
int maps(struct bpf_iter__bpf_map *ctx)
{
	struct bpf_map *map = ctx->map;
	struct map_record record = {};
	struct bpf_ringbuf *ring;
	u32 type;

	if (!map)
		return 0;
	type = map->map_type;
	record.id = map->id;
	record.type = type;
	record.key_size = map->key_size;
	record.value_size = map->value_size;
	record.max_entries = map->max_entries;
	record.flags = map->map_flags;
	record.btf_id = BPF_CORE_READ(map, btf, id);
	record.frozen = map->frozen;
	record.entries = -1;
	bpf_probe_read_kernel(record.name, sizeof(record.name), map->name);
	if (bpf_map_sum_elem_count && (type == TYPE_HASH || type == TYPE_PERCPU_HASH || type == TYPE_LRU ||
				       type == TYPE_PERCPU_LRU || type == TYPE_HASH_OF_MAPS))
		record.entries = bpf_map_sum_elem_count(map);
	if (type == TYPE_RINGBUF) {
		ring = BPF_CORE_READ((struct bpf_ringbuf_map *)map, rb);
		record.consumer = BPF_CORE_READ(ring, consumer_pos);
		record.producer = BPF_CORE_READ(ring, producer_pos);
	}
	bpf_seq_write(ctx->meta->seq, &record, sizeof(record));
	return 0;
}

/* Where each CPU's part of a per-CPU allocation lies: known of a map of our own, so known of all. */
SEC("iter/bpf_map")
int percpu_offsets(struct bpf_iter__bpf_map *ctx)
{
	struct known *cfg = what_is_known();
	struct bpf_map *map = ctx->map;
	u32 zero = 0, cpu;
	struct {
		u64 base;
		void *there;
	} found;

	if (!map || !cfg || map->id != cfg->own_map)
		return 0;
	bpf_probe_read_kernel(&found.base, sizeof(found.base), &((struct bpf_array *)map)->pptrs[0]);
	for (cpu = 0; cpu < MAX_CPUS && cpu < cpus; cpu++) {
		found.there = bpf_map_lookup_percpu_elem(&percpu, &zero, cpu);
		if (!found.there)
			break;
		bpf_seq_write(ctx->meta->seq, &found, sizeof(found));
	}
	return 0;
}

struct prog_record {
	u32 id, type, attach_type, map_count, verified_insns, pages, btf_id, unused;
	u64 load_time, runs, run_ns, misses;
	char name[16];
	char place[PLACE];
};

SEC("iter/bpf_prog")
int programs(struct bpf_iter__bpf_prog *ctx)
{
	struct bpf_prog *prog = ctx->prog;
	struct known *cfg = what_is_known();
	struct prog_record record = {};
	void *stats;
	struct bpf_prog_aux *aux;
	const char *place;
	u64 counters[3];
	_Bool has_misses;
	u32 cpu;

	if (!prog || !cfg)
		return 0;
	aux = prog->aux;
	record.id = aux->id;
	record.type = prog->type;
	record.attach_type = prog->expected_attach_type;
	record.map_count = aux->used_map_cnt;
	if (bpf_core_field_exists(aux->verified_insns))
		record.verified_insns = aux->verified_insns;
	record.pages = prog->pages;
	record.btf_id = BPF_CORE_READ(aux, btf, id);
	record.load_time = aux->load_time;
	bpf_probe_read_kernel(record.name, sizeof(record.name), aux->name);
	place = aux->attach_func_name;
	if (place)
		bpf_probe_read_kernel_str(record.place, sizeof(record.place), place);

	if (bpf_core_field_exists(prog->stats))
		stats = (void *)BPF_CORE_READ(prog, stats);
	else
		stats = (void *)BPF_CORE_READ((struct bpf_prog_aux___before_5_12 *)aux, stats);
	has_misses = bpf_core_field_exists(struct bpf_prog_stats, misses) ||
		     bpf_core_field_exists(struct bpf_prog_stats___before_5_17, misses);
	for (cpu = 0; cpu < MAX_CPUS && cpu < cpus; cpu++) {
		bpf_probe_read_kernel(counters, sizeof(counters), stats + cfg->percpu_offset[cpu]);
		record.runs += counters[0];
		record.run_ns += counters[1];
		if (has_misses)
			record.misses += counters[2];
	}
	bpf_seq_write(ctx->meta->seq, &record, sizeof(record));
	return 0;
}

struct link_record {
	u32 id, type, program_id, perf_type;
	u64 perf_config;
	char group[PLACE / 2];
	char place[PLACE];
};

static void read_perf_place(struct file *file, struct link_record *record)
{
	struct perf_event *event = (void *)BPF_CORE_READ(file, private_data);
	struct trace_event_call *call;

	if (bpf_core_field_exists(event->orig_type))
		record->perf_type = BPF_CORE_READ(event, orig_type);
	else
		record->perf_type = BPF_CORE_READ(event, attr.type);
	record->perf_config = BPF_CORE_READ(event, attr.config);
	call = BPF_CORE_READ(event, tp_event);
	if (!call)
		return;
	bpf_probe_read_kernel_str(record->group, sizeof(record->group), BPF_CORE_READ(call, class, system));
	/* name and tp share a place; a text taken for a pointer can't be read, whatever the flags are called */
	if (bpf_probe_read_kernel_str(record->place, sizeof(record->place), BPF_CORE_READ(call, tp, name)) <= 1)
		bpf_probe_read_kernel_str(record->place, sizeof(record->place), BPF_CORE_READ(call, name));
}

SEC("iter/bpf_link")
int links(struct bpf_iter__bpf_link *ctx)
{
	struct bpf_link *link = ctx->link;
	struct link_record record = {};

	if (!link)
		return 0;
	record.id = link->id;
	record.type = link->type;
	record.program_id = BPF_CORE_READ(link, prog, aux, id);
	if (record.type == LINK_RAW_TRACEPOINT)
		bpf_probe_read_kernel_str(record.place, sizeof(record.place),
					  BPF_CORE_READ((struct bpf_raw_tp_link *)link, btp, tp, name));
	else if (record.type == LINK_PERF_EVENT && bpf_core_type_exists(struct bpf_perf_link))
		read_perf_place(BPF_CORE_READ((struct bpf_perf_link *)link, perf_file), &record);
	bpf_seq_write(ctx->meta->seq, &record, sizeof(record));
	return 0;
}

struct file_record {
	u32 kind, id, pid, fd;
	char comm[16];
};

struct fops_record {
	u64 fops;
	u32 fd, unused;
};

SEC("iter/task_file")
int files(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct known *cfg = what_is_known();
	struct file_record record = {};
	struct fops_record told = {};
	struct file *file = ctx->file;
	u64 fops;

	if (!file || !task || !cfg || task->pid != task->tgid)
		return 0;
	fops = (u64)file->f_op;
	if (cfg->calibrated_tgid) {
		if (task->tgid != cfg->calibrated_tgid)
			return 0;
		told.fops = fops;
		told.fd = ctx->fd;
		bpf_seq_write(ctx->meta->seq, &told, sizeof(told));
		return 0;
	}
	if (fops == cfg->map_fops) {
		record.kind = 1;
		record.id = BPF_CORE_READ((struct bpf_map *)file->private_data, id);
	} else if (fops == cfg->prog_fops) {
		record.kind = 2;
		record.id = BPF_CORE_READ((struct bpf_prog *)file->private_data, aux, id);
	} else if (fops == cfg->link_fops) {
		record.kind = 3;
		record.id = BPF_CORE_READ((struct bpf_link *)file->private_data, id);
	} else {
		return 0;
	}
	record.pid = task->tgid;
	record.fd = ctx->fd;
	bpf_probe_read_kernel(record.comm, sizeof(record.comm), task->group_leader->comm);
	bpf_seq_write(ctx->meta->seq, &record, sizeof(record));
	return 0;
}

/* Programs attached without a link, through a perf event's ioctl: bcc, bpftrace, kernels below 5.15. */
SEC("iter/task_file")
int perf_files(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct known *cfg = what_is_known();
	struct link_record record = {};
	struct file *file = ctx->file;

	if (!file || !task || !cfg || task->pid != task->tgid || (u64)file->f_op != cfg->perf_fops)
		return 0;
	record.program_id = BPF_CORE_READ((struct perf_event *)file->private_data, prog, aux, id);
	if (!record.program_id)
		return 0;
	record.type = LINK_PERF_EVENT;
	read_perf_place(file, &record);
	bpf_seq_write(ctx->meta->seq, &record, sizeof(record));
	return 0;
}
