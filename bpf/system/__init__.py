"""What the system says of a process beside BPF: procfs, cgroups, logs, metrics."""
