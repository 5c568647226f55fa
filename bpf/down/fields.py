"""What the probe ``unit-state`` can tell."""

from __future__ import annotations

from collections.abc import Mapping

from engine.values import Field

FIELDS: Mapping[str, Field] = {
    "running": Field(help="whether a process of the agent runs at the end of the window", type="bool"),
    "steady": Field(help="the same process ran at every look of the window", type="bool"),
    "healthy": Field(help="its health endpoint answers 200", type="bool"),
    "pid": Field(help="its main process"),
    "uptime_s": Field(help="for how long that runs", unit="s"),
    "starts": Field(help="processes of it that began within the window"),
    "unit": Field(help="its systemd unit", type="text"),
    "active_state": Field(help="as systemd has it: active, inactive, failed, activating", type="text"),
    "result": Field(help="as systemd has it: success, exit-code, signal, oom-kill …", type="text"),
    "exit_code": Field(help="of the process that ended last"),
    "exit_signal": Field(help="the signal that ended it"),
    "restarts": Field(help="how often it was started again within ten minutes"),
    "restarts_per_min": Field(help="the same, per minute since the first of them", unit="1/min"),
    "oom_killed": Field(help="the kernel killed it for want of memory", type="bool"),
    "oom_line": Field(help="what the kernel said of that", type="text"),
    "crash_line": Field(help="what the kernel, or who watches over it, said of its death", type="text"),
    "stopped_by": Field(
        help="human: somebody had it stopped; none: nobody did; unknown where nothing says", type="text"
    ),
    "stopped_line": Field(help="what says so", type="text"),
    "failed_load": Field(help="its log ends with programs that did not load", type="bool"),
    "load_cause": Field(help="why, as far as the log tells (see runbook explain)", type="text"),
    "load_sentence": Field(help="the same in a sentence", type="text"),
    "last_line": Field(help="the last line of its log", type="text"),
    "last_seen_s": Field(help="how long ago it last gave a sign of life; 0 while it runs", unit="s"),
    "pinned_programs": Field(help="BPF programs of it that are still pinned, and work without it"),
    "last_lines": Field(help="the last lines of its log", type="rows"),
}
