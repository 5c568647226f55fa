// SPDX-License-Identifier: GPL-2.0
/* What a process takes from its allocator and does not give back, by call site.
 *
 * Read by allocations.py, which attaches these programs to malloc and its kin in the target's own files, for the
 * target's processes only. A hit costs the target 1 to 7 µs, nearly all of it the trap.
 *
 * Calls within calls (realloc of nothing calls malloc) are told by the stack pointer: the inner call stands deeper.
 * Only the outer one counts.
 */
#include "stacks.h"
#include <linux/ptrace.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "GPL";

#define DEPTH 32
#define WORDS 64  /* of the stack, that are searched for the program's own code */
#define RANGES 16
#define STALE_NS 10000000ULL

#if defined(__TARGET_ARCH_x86)
#define SP_AT_CALL(ctx) (PT_REGS_SP(ctx) - 8) /* the return address was taken off */
#else
#define SP_AT_CALL(ctx) PT_REGS_SP(ctx)
#endif

struct range {
	u64 start, end;
};

const volatile u32 one_in = 1;
/* glibc on 64 bits: the word before a piece is its size, three bits of it flags. */
const volatile u32 size_before = 0;
/* The program's own code: all that is no allocator and no library between it and the program. */
const volatile struct range own[RANGES] = {};

struct address {
	u64 at;
	u32 tgid;
	u32 zero;
};

struct piece {
	u64 bytes;
	u64 born; /* bpf_ktime */
	u64 caller;
	u64 origin; /* where the stack first shows the program's own code; 0 when the caller is its own */
	s32 stack;
	u32 tgid;
};

struct call {
	struct piece piece;
	u64 sp;
	u64 result_at; /* posix_memalign: where it writes the address */
	struct piece before; /* realloc: what was there, put back when it fails */
	u64 before_at;
	u32 chosen;
	u32 zero;
};

struct tally {
	u64 hits;
	u64 calls, bytes;	/* all that were given, followed or not */
	u64 frees;		/* of any address but NULL */
	u64 older;		/* frees of addresses that are not followed */
	u64 freed;		/* bytes of those that are */
	u64 followed;		/* bytes */
	u64 no_room;
	u64 held, released;	/* bytes in the allocator's own sizes, whatever their age; where they are known */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 262144);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct address);
	__type(value, struct piece);
} alive SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, u64);
	__type(value, struct call);
} calls SEC(".maps");

STACKS(stacks, DEPTH, 16384);

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct tally);
} tallies SEC(".maps");

/* Another thread's hit may come between on this CPU: each count is one step. */
#define COUNT(field, by) __sync_fetch_and_add(&(field), by)

static struct tally *counted(void)
{
	u32 zero = 0;
	struct tally *tally = bpf_map_lookup_elem(&tallies, &zero);

	if (tally)
		COUNT(tally->hits, 1);
	return tally;
}

/* The call that this thread is in, when the present one stands deeper in its stack. */
static struct call *outer(u64 thread, u64 sp)
{
	struct call *call = bpf_map_lookup_elem(&calls, &thread);

	if (!call || call->sp <= sp || bpf_ktime_get_ns() - call->piece.born > STALE_NS)
		return 0;
	return call;
}

static _Bool is_own(u64 address)
{
	for (int i = 0; i < RANGES; i++) {
		if (!own[i].end)
			return 0;
		if (address >= own[i].start && address < own[i].end)
			return 1;
	}
	return 0;
}

/* The first word of the stack that leads back into the program's own code. */
static u64 origin_of(u64 sp)
{
	u64 words[WORDS / 4];

	for (int part = 0; part < 4; part++) {
		if (bpf_probe_read_user(words, sizeof(words), (void *)(sp + part * sizeof(words))))
			return 0;
		for (int i = 0; i < WORDS / 4; i++)
			if (is_own(words[i]))
				return words[i];
	}
	return 0;
}

static u64 size_of(u64 at)
{
	u64 size = 0;

	if (size_before)
		bpf_probe_read_user(&size, sizeof(size), (void *)(at - sizeof(size)));
	return size & ~7ULL;
}

static u64 caller_of(struct pt_regs *ctx)
{
#if defined(__TARGET_ARCH_x86)
	u64 caller = 0;

	bpf_probe_read_user(&caller, sizeof(caller), (void *)PT_REGS_SP(ctx));
	return caller;
#else
	return PT_REGS_RET(ctx);
#endif
}

static int enter(struct pt_regs *ctx, u64 bytes, u64 old, u64 result_at)
{
	u64 thread = bpf_get_current_pid_tgid(), sp = PT_REGS_SP(ctx);
	struct address address = { .at = old, .tgid = thread >> 32 };
	struct tally *tally = counted();
	struct call call = {};
	struct piece *before;

	if (!tally || outer(thread, sp))
		return 0;
	call.sp = sp;
	call.result_at = result_at;
	call.piece.bytes = bytes;
	call.piece.born = bpf_ktime_get_ns();
	call.piece.tgid = thread >> 32;
	call.piece.stack = -1;
	if (old) {
		call.before_at = old;
		COUNT(tally->frees, 1);
		COUNT(tally->released, size_of(old));
		before = bpf_map_lookup_elem(&alive, &address);
		if (before) {
			call.before = *before;
			COUNT(tally->freed, before->bytes);
			bpf_map_delete_elem(&alive, &address);
		} else {
			COUNT(tally->older, 1);
		}
	}
	if (one_in <= 1 || bpf_get_prandom_u32() % one_in == 0) {
		call.chosen = 1;
		call.piece.caller = caller_of(ctx);
		call.piece.stack = bpf_get_stackid(ctx, &stacks, BPF_F_USER_STACK);
		if (!is_own(call.piece.caller))
			call.piece.origin = origin_of(sp + sizeof(u64));
	}
	bpf_map_update_elem(&calls, &thread, &call, BPF_ANY);
	return 0;
}

static void keep(struct tally *tally, u64 at, struct piece *piece)
{
	struct address address = { .at = at, .tgid = piece->tgid };

	if (bpf_map_update_elem(&alive, &address, piece, BPF_ANY))
		COUNT(tally->no_room, 1);
	else
		COUNT(tally->followed, piece->bytes);
}

SEC("uprobe")
int on_malloc(struct pt_regs *ctx)
{
	return enter(ctx, PT_REGS_PARM1(ctx), 0, 0);
}

SEC("uprobe")
int on_calloc(struct pt_regs *ctx)
{
	return enter(ctx, PT_REGS_PARM1(ctx) * PT_REGS_PARM2(ctx), 0, 0);
}

SEC("uprobe")
int on_realloc(struct pt_regs *ctx)
{
	return enter(ctx, PT_REGS_PARM2(ctx), PT_REGS_PARM1(ctx), 0);
}

SEC("uprobe")
int on_aligned(struct pt_regs *ctx)
{
	return enter(ctx, PT_REGS_PARM2(ctx), 0, 0);
}

SEC("uprobe")
int on_posix_memalign(struct pt_regs *ctx)
{
	return enter(ctx, PT_REGS_PARM3(ctx), 0, PT_REGS_PARM1(ctx));
}

SEC("uretprobe")
int on_return(struct pt_regs *ctx)
{
	u64 thread = bpf_get_current_pid_tgid(), given = PT_REGS_RC(ctx);
	struct tally *tally = counted();
	struct call *call;

	if (!tally)
		return 0;
	call = bpf_map_lookup_elem(&calls, &thread);
	if (!call || call->sp != SP_AT_CALL(ctx))
		return 0;
	if (call->result_at) {
		u64 at = call->result_at, failed = given;

		given = 0;
		if (!failed)
			bpf_probe_read_user(&given, sizeof(given), (void *)at);
	}
	if (given) {
		COUNT(tally->calls, 1);
		COUNT(tally->held, size_of(given));
		COUNT(tally->bytes, call->piece.bytes);
		if (call->chosen)
			keep(tally, given, &call->piece);
	} else if (call->before_at && call->piece.bytes) { /* it failed: what was there still is */
		COUNT(tally->frees, -1);
		COUNT(tally->released, -size_of(call->before_at));
		if (call->before.born)
			keep(tally, call->before_at, &call->before);
		else
			COUNT(tally->older, -1);
	}
	bpf_map_delete_elem(&calls, &thread);
	return 0;
}

SEC("uprobe")
int on_free(struct pt_regs *ctx)
{
	u64 thread = bpf_get_current_pid_tgid();
	struct address address = { .at = PT_REGS_PARM1(ctx), .tgid = thread >> 32 };
	struct tally *tally = counted();
	struct piece *piece;

	if (!tally || !address.at || outer(thread, PT_REGS_SP(ctx)))
		return 0;
	COUNT(tally->frees, 1);
	COUNT(tally->released, size_of(address.at));
	piece = bpf_map_lookup_elem(&alive, &address);
	if (!piece) {
		COUNT(tally->older, 1);
		return 0;
	}
	COUNT(tally->freed, piece->bytes);
	bpf_map_delete_elem(&alive, &address);
	return 0;
}
