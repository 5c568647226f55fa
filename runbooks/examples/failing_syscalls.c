// Counts system calls that fail, by process and error; only the target's when there is one.
// Reads no kernel structure: a tracepoint's arguments come in the running kernel's own format,
// so headers of any kernel do.

struct failure {
    u32 pid;
    s32 error;
    char process[16];
};

BPF_HASH(failures, struct failure, u64, 10240);

TRACEPOINT_PROBE(raw_syscalls, sys_exit)
{
    struct failure key = {};

    if (args->ret >= 0 || args->ret < -4095)
        return 0;
    key.pid = bpf_get_current_pid_tgid() >> 32;
    if (TARGET_PID && key.pid != TARGET_PID)
        return 0;
    key.error = -args->ret;
    bpf_get_current_comm(key.process, sizeof(key.process));
    failures.increment(key);
    return 0;
}
