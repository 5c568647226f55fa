"""Every reading that ``cpu-profile`` gives, with its meaning and unit."""

from __future__ import annotations

from engine.values import Field

FIELDS: dict[str, Field] = {
    "samples": Field(help="samples taken of the target, or of its BPF programs wherever they ran"),
    "hz": Field(help="samples a second of each CPU in use", unit="1/s"),
    "cpu_cores": Field(help="CPU that the samples stand for, the BPF programs' included", unit="cores"),
    "user_share": Field(help="share of the samples in its own code", unit="share"),
    "kernel_share": Field(help="share in the kernel on its behalf, BPF programs left out", unit="share"),
    "bpf_share": Field(help="share in the target's BPF programs, whoever triggered them", unit="share"),
    "top_function": Field(help="function in which most samples were taken", type="text"),
    "top_function_share": Field(help="share taken in it itself, not in what it called", unit="share"),
    "top_user_function": Field(help="the same among its own code", type="text"),
    "top_user_share": Field(help="share of all samples taken in it itself", unit="share"),
    "top_kernel_function": Field(help="the same in the kernel", type="text"),
    "top_kernel_share": Field(help="share of all samples taken in it itself", unit="share"),
    "top_program": Field(help="the target's BPF program with the most samples", type="text"),
    "top_program_share": Field(help="share in it and in what it called", unit="share"),
    "unresolved_share": Field(help="share of the samples whose function has no name", unit="share"),
    "one_frame_share": Field(
        help="share of the samples in its own code whose stack is a single frame", unit="share"
    ),
    "lost_share": Field(help="share of the samples that found no room", unit="share"),
    "source": Field(help="which rung served", type="text"),
    "functions": Field(
        help="one row per function: its own share and its share with what it called", type="rows"
    ),
    "threads": Field(help="one row per thread, with its share", type="rows"),
    "stacks": Field(help="one row per call stack, folded, with its samples", type="rows"),
}
