/* SPDX-License-Identifier: GPL-2.0 */
/* The few kernel structures the eyes read, each with the few fields they read.
 *
 * Offsets here mean nothing: preserve_access_index makes libbpf look every field up in the running
 * kernel's BTF at load time (CO-RE), so building needs neither BTF nor bpftool. A name with three
 * underscores is another kernel version's shape of the same structure.
 */
#ifndef RUNBOOK_KERNEL_H
#define RUNBOOK_KERNEL_H

#include <linux/types.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

typedef __u8 u8;
typedef __u32 u32;
typedef __s32 s32;
typedef __u64 u64;
typedef __s64 s64;

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
};

typedef struct {
	int counter;
} atomic_t;

typedef struct {
	s64 counter;
} atomic64_t;

struct btf {
	u32 id;
};

struct bpf_map {
	enum bpf_map_type map_type;
	u32 key_size;
	u32 value_size;
	u32 max_entries;
	u32 map_flags;
	u32 id;
	struct btf *btf;
	char name[16];
	_Bool frozen;
};

struct bpf_array {
	struct bpf_map map;
	void *pptrs[0];
};

struct bpf_ringbuf {
	u64 mask;
	unsigned long consumer_pos;
	unsigned long producer_pos;
};

struct bpf_ringbuf_map {
	struct bpf_map map;
	struct bpf_ringbuf *rb;
};

/* The counters lead the structure in every version: read as plain numbers, cnt, nsecs, misses. */
struct bpf_prog_stats {
	struct {
	} misses;
};

struct bpf_prog_stats___before_5_17 {
	u64 misses;
};

struct bpf_prog_aux {
	u32 id;
	u32 used_map_cnt;
	u32 verified_insns;
	u64 load_time;
	struct btf *btf;
	const char *attach_func_name;
	char name[16];
};

struct bpf_prog_aux___before_5_12 {
	struct bpf_prog_stats *stats;
};

/* Until 5.11 the statistics hung on aux. */
struct bpf_prog {
	__u16 pages;
	enum bpf_prog_type type;
	enum bpf_attach_type expected_attach_type;
	struct bpf_prog_stats *stats;
	struct bpf_prog_aux *aux;
};

struct tracepoint {
	const char *name;
};

struct bpf_raw_event_map {
	struct tracepoint *tp;
};

struct bpf_link {
	u32 id;
	enum bpf_link_type type;
	struct bpf_prog *prog;
};

struct bpf_raw_tp_link {
	struct bpf_link link;
	struct bpf_raw_event_map *btp;
};

struct bpf_perf_link {
	struct bpf_link link;
	struct file *perf_file;
};

struct trace_event_class {
	const char *system;
};

struct trace_event_call {
	struct trace_event_class *class;
	const char *name;
	struct tracepoint *tp;
};

struct perf_event_attr {
	u32 type;
	u64 config;
};

struct perf_buffer {
	int nr_pages;
	struct perf_event_mmap_page *user_page;
	void *data_pages[];
};

struct perf_event_mmap_page {
	u64 data_head;
	u64 data_tail;
	u64 data_size;
};

struct perf_event {
	struct perf_event_attr attr;
	u32 orig_type; /* as asked for, where attr.type is rewritten (5.14) */
	struct trace_event_call *tp_event;
	struct bpf_prog *prog;
	struct perf_buffer *rb;
	int cpu;
	atomic64_t lost_samples; /* 6.0 */
};

struct file {
	const void *f_op;
	void *private_data;
};

struct task_struct {
	int pid;
	int tgid;
	struct task_struct *group_leader;
	char comm[16];
};

struct bpf_iter__bpf_map {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
};

struct bpf_iter__bpf_prog {
	struct bpf_iter_meta *meta;
	struct bpf_prog *prog;
};

struct bpf_iter__bpf_link {
	struct bpf_iter_meta *meta;
	struct bpf_link *link;
};

struct bpf_iter__task_file {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
	u32 fd;
	struct file *file;
};

#pragma clang attribute pop

#endif
