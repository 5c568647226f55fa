"""Facts of a host and a process that decide whether BPF programs load: pure readers, one subject each."""
