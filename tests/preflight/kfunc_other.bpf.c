/* A kernel function declared with a parameter too many: refused, or left out by newer loaders. */
#include "small.h"

extern void bpf_rcu_read_lock(int not_a_parameter) __ksym;

SEC("tp_btf/sched_switch")
int kfunc_other(void *ctx)
{
	bpf_rcu_read_lock(0);
	return 0;
}
