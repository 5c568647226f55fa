"""``make demo``: an agent that loses events, found, mended and proven, on this machine's kernel.

Starts the practice agent with bursts that its ring can't hold, shows the loss, runs
``runbook run events-dropped`` and leaves its report as ``demo-report.html``, or in the file that it is
given (the tests', which must not overwrite a person's). However it ends
(done, failed, Ctrl-C, SIGTERM), what it started is stopped and the machine is as before.
Where BPF can't be used it says why and rehearses the same run from recorded evidence.

Not here: the set-up (``tools/setup.sh``), the lab (``bpf/lab``).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).parents[1]
RUNBOOK = ROOT / ".venv/bin/runbook"
STATE = ROOT / "build/demo"
NAME = "demo"
REPORT = Path(sys.argv[1] if len(sys.argv) > 1 else "demo-report.html")
RECORDED = ROOT / "runbooks/rehearsals/events-dropped/burst.yaml"
#: A journal and a lab of the demo's own: what else runs on the machine is not touched.
ENVIRONMENT = {**os.environ, "RUNBOOK_STATE": str(STATE / "journal"), "RUNBOOK_LAB": str(STATE / "lab")}


class Stopped(Exception):
    """A signal asked us to end."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def stop(number: int, _frame: FrameType | None) -> None:
    raise Stopped(number)


def show(*arguments: str) -> int:
    """Run one command as a person would type it; its exit code. A signal is handed on to it, once."""
    print(f"\n$ runbook {' '.join(arguments)}", flush=True)
    # In a session of its own, so that Ctrl-C reaches it through us alone and not twice.
    process = subprocess.Popen([RUNBOOK, *arguments], cwd=ROOT, env=ENVIRONMENT, start_new_session=True)
    try:
        return process.wait()
    except Stopped as stopped:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        process.send_signal(stopped.number)
        process.wait()
        raise


def why_no_bpf() -> str:
    """Why the demo can't run on this kernel; empty when it can."""
    if os.geteuid() != 0:
        return "this is not root (try: sudo make demo)"
    sys.path.insert(0, str(ROOT))
    from bpf.library import usable  # noqa: PLC0415 - after the set-up

    support = usable()
    return "" if support.answer != "no" else f"{support.why}; {support.fix}"


def live() -> int:
    """The real thing."""
    print("A small real eBPF agent starts; its events come in bursts that its ring buffer can't hold.")
    try:
        if code := show("lab", "start", "--fault", "burst", "--name", NAME, "--for", "600"):
            return code
        show("lab", "list")
        agent = f"lab:{agent_pid()}"
        inputs = ("--input", "window=5s", "--input", "hold=10s")
        code = show("run", "events-dropped", "--target", agent, "--yes", *inputs, "--report", str(REPORT))
        show("lab", "list")
        return code
    finally:
        show("lab", "stop", NAME)


def agent_pid() -> int:
    """Of the agent that we have started: in our own directory there is no other."""
    listed = subprocess.run(
        [RUNBOOK, "lab", "list", "--json"], env=ENVIRONMENT, capture_output=True, check=True
    )
    return int(json.loads(listed.stdout)[0]["pid"])


def rehearsed(why: str) -> int:
    """The same run, told from evidence that was recorded elsewhere."""
    print(
        f"BPF can't be used here: {why}.\nSo the same run is rehearsed from recorded evidence.\n", flush=True
    )
    words = ["test", RECORDED, "--show", "--report", ROOT / REPORT]
    return subprocess.call([RUNBOOK, *words], env=ENVIRONMENT)


def main() -> int:
    """Run it; clean up whatever happens."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    STATE.mkdir(parents=True, exist_ok=True)
    (ROOT / REPORT).unlink(missing_ok=True)
    try:
        why = why_no_bpf()
        code = rehearsed(why) if why else live()
    except Stopped as stopped:
        print(f"\ndemo: stopped by {stopped}; nothing is left running", flush=True)
        return 128 + stopped.number
    finally:
        shutil.rmtree(STATE, ignore_errors=True)
    if (ROOT / REPORT).exists():
        print(f"\nThe report: {REPORT}")
    return code


if __name__ == "__main__":
    sys.exit(main())
