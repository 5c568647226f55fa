#include "confine.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Refuse bpf() with EPERM, as container runtimes do; everything else goes on. */
static int forbid_bpf(void)
{
	struct sock_filter program[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_bpf, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog filter = {.len = sizeof(program) / sizeof(program[0]), .filter = program};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter))
		return -errno;
	return 0;
}

/* Limit locked memory for good: without this capability libbpf can't raise the limit again. */
static int limit_memlock(__u64 bytes)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3];
	struct rlimit limit = {.rlim_cur = bytes, .rlim_max = bytes};

	if (setrlimit(RLIMIT_MEMLOCK, &limit) || syscall(SYS_capget, &header, sets))
		return -errno;
	sets[0].effective &= ~(1U << CAP_SYS_RESOURCE);
	sets[0].permitted &= ~(1U << CAP_SYS_RESOURCE);
	return syscall(SYS_capset, &header, sets) ? -errno : 0;
}

int confine(const struct config *config)
{
	int error = config->memlock_bytes ? limit_memlock(config->memlock_bytes) : 0;

	return error || !config->forbid_bpf ? error : forbid_bpf();
}
