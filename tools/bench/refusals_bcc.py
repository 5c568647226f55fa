"""Loads refused programs through bcc: ``/usr/bin/python3 refusals_bcc.py TIMES``; prints its pid's kinds.

For the distribution's Python, which has bcc; nothing of ours is imported.
"""

import os
import sys

from bcc import BPF

TABLE = "BPF_HASH(table, u32, u64, 1);\n"
PROGRAMS = {
    "null_check": TABLE + "int null_check(void *ctx) { u32 k = 0; u64 *v = table.lookup(&k); return *v; }",
    "bounds": TABLE
    + "int bounds(void *ctx) { u32 k = 0; u64 *v = table.lookup(&k);"
    + " return v ? v[bpf_get_prandom_u32()] : 0; }",
    "uninitialised": 'int uninitialised(void *ctx) { u64 v; asm volatile("%0 = r7" : "=r"(v)); return v; }',
    "endless_loop": "int endless_loop(void *ctx) { u64 r = bpf_get_prandom_u32();"
    + ' while (r) asm volatile("" ::: "memory"); return 0; }',
    "wrong_helper": "int wrong_helper(void *ctx) { u64 room = 0;"
    + " return bpf_skb_load_bytes(ctx, 0, &room, sizeof(room)); }",
    "deep_stack": "int deep_stack(void *ctx)"
    + ' { asm volatile("r1 = 0; *(u64 *)(r10 - 520) = r1" ::: "memory"); return 0; }',
}

if __name__ == "__main__":
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 2)  # bcc prints every log
    for kind, text in PROGRAMS.items():
        compiled = BPF(text=text)
        for _ in range(int(sys.argv[1])):
            try:
                compiled.load_func(kind, BPF.RAW_TRACEPOINT)
            except Exception:  # noqa: BLE001 - as wanted
                continue
            sys.exit(f"{kind} was not refused")
