// SPDX-License-Identifier: GPL-2.0
/* Failing bpf() calls of every process, each with its arguments and the tail of its verifier log.
 *
 * Read by ../loads.py. The log is read out of the failing process's own buffer, at the end of its call.
 * Costs 5 to 30 ns on every system call of the machine (that they are traced at all), 65 to 110 ns on
 * bpf(), and 0.3 µs on one that fails, besides copying its log. No CO-RE: works without kernel BTF. Kernel 5.10.
 */
#include <stddef.h>
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

typedef __u8 u8;
typedef __u32 u32;
typedef __s32 s32;
typedef __u64 u64;
typedef __s64 s64;

char LICENSE[] SEC("license") = "GPL";

#define LOG_BYTES 16384 /* from 7.3 on, the reason may stand 8 KiB before the end */
#define PAGE_BYTES 4096
#define MOST_PAGES_LOOPED 65536 /* 256 MiB: longer than any log */
#define MOST_PAGES_BOUNDED 256	/* 1 MiB: what verifiers before 5.17 follow */

/* Flags of a record. */
#define LOG_END_NOT_FOUND 1 /* the log goes on beyond what could be searched */
#define BEFORE_ENTRY 2	    /* refused before the call began: a seccomp filter */

/* Parts of union bpf_attr: user ABI, so these offsets never change. */
struct load_attr {
	u32 type, instructions;
	u64 code, license;
	u32 log_level, log_size;
	u64 log;
	u8 between[100];
	u32 log_true_size; /* written by the kernel from 6.4 on */
};
struct btf_attr {
	u64 data, log;
	u32 size, log_size, log_level, log_true_size;
};
union attr {
	struct load_attr load;
	struct btf_attr btf;
	u64 pointer; /* RAW_TRACEPOINT_OPEN: name, OBJ_PIN: path */
	u8 bytes[152];
};
_Static_assert(offsetof(struct load_attr, log_true_size) == 140, "union bpf_attr, linux/bpf.h");
_Static_assert(offsetof(struct btf_attr, log_true_size) == 28, "union bpf_attr, linux/bpf.h");

/* Of the trace events' format files; the same on all 64-bit kernels. */
struct enter {
	u64 common;
	s64 number;
	u64 arguments[6];
};
struct exit {
	u64 common;
	s64 number;
	s64 result;
};

struct call {
	u64 attr, began_ns;
	u32 command, attr_bytes;
};

struct failure {
	u64 at_ns, duration_ns;
	u32 tgid, tid, uid;
	s32 result;
	u32 command, attr_bytes;
	u32 log_size, log_length, log_from, log_bytes; /* asked for; found; first byte here; bytes here */
	u32 flags, unused;
	char comm[16];
	char text[64];
	union attr attr;
	char log[LOG_BYTES];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, u64);
	__type(value, struct call);
} calls SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4 << 20);
} failures SEC(".maps");

/* Too large for the stack; a tracepoint's program is not preempted. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct failure);
} records SEC(".maps");

struct page {
	char bytes[PAGE_BYTES];
};
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct page);
} pages SEC(".maps");

const volatile u32 self_tgid;
const volatile u64 wanted; /* commands, one bit each */
const volatile u32 stack_at; /* offset of task_struct.stack; 0: arguments of refused calls can't be had */

volatile u64 lost;	/* failures that found no room in the ring */
volatile u64 not_followed; /* calls that found no room among those in flight */

SEC("tracepoint/syscalls/sys_enter_bpf")
int on_enter(struct enter *ctx)
{
	u64 id = bpf_get_current_pid_tgid();
	u32 command = ctx->arguments[0];
	struct call call = {};

	if (command > 63 || !(wanted >> command & 1) || id >> 32 == self_tgid)
		return 0;
	call.command = command;
	call.attr = ctx->arguments[1];
	call.attr_bytes = ctx->arguments[2];
	call.began_ns = bpf_ktime_get_ns();
	if (bpf_map_update_elem(&calls, &id, &call, BPF_ANY))
		__sync_fetch_and_add(&not_followed, 1);
	return 0;
}

struct search {
	u64 log;
	u32 size, found, more;
};

/* One page of the search for the log's end; true when it ends here. */
static __always_inline long search_page(struct search *search)
{
	u32 zero = 0;
	struct page *page = bpf_map_lookup_elem(&pages, &zero);
	long got;

	search->more = 0;
	if (!page || search->found >= search->size)
		return 1;
	got = bpf_probe_read_user_str(page->bytes, PAGE_BYTES, (void *)(search->log + search->found));
	if (got <= 0)
		return 1;
	search->found += got - 1;
	search->more = got == PAGE_BYTES;
	return !search->more;
}

static long search_step(u32 step, void *search)
{
	(void)step;
	return search_page(search);
}

/* Where the log ends. Before 6.4 nobody says, so its NUL is looked for. */
static __always_inline u32 length_of(struct search *search, _Bool has_loop)
{
	if (has_loop) {
		bpf_loop(MOST_PAGES_LOOPED, search_step, search, 0);
	} else {
#pragma clang loop unroll(disable)
		for (int page = 0; page < MOST_PAGES_BOUNDED; page++)
			if (search_page(search))
				break;
	}
	return search->found;
}

static __always_inline void take_log(struct failure *failure, _Bool has_loop)
{
	struct search search = {};
	u32 length = 0, level;
	u64 bytes;

	if (failure->command == BPF_PROG_LOAD) {
		level = failure->attr.load.log_level;
		search.log = failure->attr.load.log;
		search.size = failure->attr.load.log_size;
		length = failure->attr.load.log_true_size;
	} else if (failure->command == BPF_BTF_LOAD) {
		level = failure->attr.btf.log_level;
		search.log = failure->attr.btf.log;
		search.size = failure->attr.btf.log_size;
		length = failure->attr.btf.log_true_size;
	} else {
		return;
	}
	if (!level || !search.log || !search.size)
		return;
	failure->log_size = search.size;
	if (!length) {
		length = length_of(&search, has_loop);
		if (search.more)
			failure->flags |= LOG_END_NOT_FOUND;
	}
	failure->log_length = length;
	if (length > search.size)
		length = search.size;
	if (length > LOG_BYTES - 1)
		failure->log_from = length - (LOG_BYTES - 1);
	bytes = length - failure->log_from;
	barrier_var(bytes); /* else the compiler leaves the mask out, and no verifier follows its reasons */
	bytes &= LOG_BYTES - 1;
	if (bytes && !bpf_probe_read_user(failure->log, bytes, (void *)(search.log + failure->log_from)))
		failure->log_bytes = bytes;
}

/* The string that an argument points to. */
static __always_inline void take_text(struct failure *failure)
{
	u64 pointer = 0;

	if (failure->command == BPF_PROG_LOAD)
		pointer = failure->attr.load.license;
	else if (failure->command == BPF_RAW_TRACEPOINT_OPEN || failure->command == BPF_OBJ_PIN)
		pointer = failure->attr.pointer;
	if (pointer)
		bpf_probe_read_user_str(failure->text, sizeof(failure->text), (void *)pointer);
}

static __always_inline int tell(struct call *call, s64 result, u32 flags, _Bool has_loop)
{
	u64 id = bpf_get_current_pid_tgid(), attr_bytes = call->attr_bytes, bytes;
	u32 zero = 0;
	struct failure *failure = bpf_map_lookup_elem(&records, &zero);

	if (!failure)
		return 0;
	__builtin_memset(failure, 0, offsetof(struct failure, log));
	failure->at_ns = bpf_ktime_get_ns();
	failure->duration_ns = call->began_ns ? failure->at_ns - call->began_ns : 0;
	failure->tgid = id >> 32;
	failure->tid = id;
	failure->uid = bpf_get_current_uid_gid();
	failure->result = result;
	failure->command = call->command;
	failure->attr_bytes = attr_bytes;
	failure->flags = flags;
	bpf_get_current_comm(failure->comm, sizeof(failure->comm));
	barrier_var(attr_bytes); /* the same register for the comparison and the call */
	if (attr_bytes > sizeof(failure->attr))
		attr_bytes = sizeof(failure->attr);
	bpf_probe_read_user(&failure->attr, attr_bytes, (void *)call->attr);
	take_text(failure);
	take_log(failure, has_loop);
	bytes = failure->log_bytes;
	barrier_var(bytes);
	bytes &= LOG_BYTES - 1;
	if (bpf_ringbuf_output(&failures, failure, offsetof(struct failure, log) + bytes, 0))
		__sync_fetch_and_add(&lost, 1);
	return 0;
}

#define EPERM 1
#define EACCES 13
#define ENOSYS 38
#define STACK_BYTES 16384
#define FRED_PADDING 16 /* above the registers, from 6.9 on */
#define NR_BPF 321

/* struct pt_regs of x86-64 as it lies on top of a thread's kernel stack; fixed by the entry code. */
struct registers {
	u64 saved[12];
	u64 dx, si, di, number, ip, cs, flags, sp, ss;
};

/* A call that ends without having begun was refused by a seccomp filter: those run before tracepoints. The
 * arguments still stand in the registers.
 */
static __always_inline _Bool refused_call(s64 result, struct call *call)
{
#if defined(__TARGET_ARCH_x86)
	struct registers registers = {};
	u64 stack = 0, top;

	if (!stack_at || (result != -EPERM && result != -EACCES && result != -ENOSYS))
		return 0;
	bpf_probe_read_kernel(&stack, sizeof(stack), (void *)(bpf_get_current_task() + stack_at));
	top = stack + STACK_BYTES - sizeof(registers);
	bpf_probe_read_kernel(&registers, sizeof(registers), (void *)top);
	if (registers.number != NR_BPF)
		bpf_probe_read_kernel(&registers, sizeof(registers), (void *)(top - FRED_PADDING));
	if (registers.number != NR_BPF)
		return 0;
	call->command = registers.di;
	call->attr = registers.si;
	call->attr_bytes = registers.dx;
	return call->command <= 63 && wanted >> call->command & 1;
#else
	return 0;
#endif
}

static __always_inline int ended(struct exit *ctx, _Bool has_loop)
{
	u64 id = bpf_get_current_pid_tgid();
	struct call *entry = bpf_map_lookup_elem(&calls, &id);
	struct call call = {};
	s64 result = ctx->result;

	if (entry) {
		call = *entry;
		bpf_map_delete_elem(&calls, &id);
		return result < 0 ? tell(&call, result, 0, has_loop) : 0;
	}
	if (result >= 0 || id >> 32 == self_tgid || !refused_call(result, &call))
		return 0;
	return tell(&call, result, BEFORE_ENTRY, has_loop);
}

SEC("tracepoint/syscalls/sys_exit_bpf")
int on_exit(struct exit *ctx)
{
	return ended(ctx, 1);
}

/* For kernels before 5.17, which have no bpf_loop. */
SEC("tracepoint/syscalls/sys_exit_bpf")
int on_exit_bounded(struct exit *ctx)
{
	return ended(ctx, 0);
}
