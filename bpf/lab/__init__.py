"""A small real eBPF agent to practise on, with faults to switch on."""
