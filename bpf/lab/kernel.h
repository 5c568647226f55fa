/* The kernel structs this agent reads, cut down to the fields it uses: libbpf moves each access to
 * where the running kernel keeps it (CO-RE), so building needs neither BTF nor bpftool. */
#pragma once

struct task_struct {
	int tgid;
	struct task_struct *real_parent;
} __attribute__((preserve_access_index));
