/* A helper that the kernel gives to GPL programs only. */
#include "bad.h"

char LICENSE[] SEC("license") = "Proprietary";

SEC("raw_tp/sys_enter")
int bad_licence(struct bpf_raw_tracepoint_args *ctx)
{
	__u64 word = 0;

	bpf_probe_read_kernel(&word, sizeof(word), (void *)ctx->args[0]);
	return word;
}
