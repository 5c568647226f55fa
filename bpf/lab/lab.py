"""Practice agents on this machine: start one with a fault, list them, stop them without a trace.

Every instance has a directory of its own under ``$RUNBOOK_LAB`` or ``/run/runbook-lab``. ``stop``
ends exactly its processes and removes its directory and cgroup, from any process, also after
its starter was killed. Whatever happens, agent and generator end by themselves after an hour.

Not here: what the faults are (``faults``), the agent (``*.c``), printing (``cli``).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from bpf.lab import cgroup, processes, rights
from bpf.lab.down import bring_down
from bpf.lab.fault import AMPLE, Fault
from bpf.lab.faults import fault_named
from bpf.lab.instances import Instance, instance_named, instance_of, instances, root_directory, save
from bpf.lab.rights import LabFailed
from bpf.lab.settings import own_sources, render
from bpf.lab.waiting import until
from engine.errors import UsageError

__all__ = [
    "LIFETIME_S",
    "Instance",
    "LabFailed",
    "instance_named",
    "instance_of",
    "instances",
    "restart",
    "start",
    "stop",
]

START_WAIT_S = 15.0
LIFETIME_S = 3600
RETRY = "1s"
#: What an agent that tries again says after each failure.
TRIES_AGAIN = "cannot start; trying again"


def start(  # noqa: PLR0913 (each a word of the command line, or time)
    fault: str = "",
    *,
    directory: Path | None = None,
    name: str = "",
    config_file: Path | None = None,
    seconds: int = LIFETIME_S,
    sleep: Callable[[float], None] = time.sleep,
    monotonic: Callable[[], float] = time.monotonic,
) -> Instance:
    """Start an agent with ``fault`` and its generator; returns when it is healthy, or down if it is to be.

    Args:
        fault: A name of ``faults.FAULTS``; empty for an agent without one.
        directory: Where instances live, when not ``root_directory()``.
        name: Of the instance; else the fault's, with a number if that is taken.
        config_file: Use this configuration, where it lies, in place of the fault's.
        seconds: After which both end by themselves.
        sleep: Of the waiting, in seconds.
        monotonic: Of the deadline, in seconds.

    Raises:
        UnknownName: No such fault. LabFailed: not root, not built, or the agent did not start:
            nothing is left then.
    """
    chosen = fault_named(fault)
    _check_host()
    home = _new_directory(directory or root_directory(), name or chosen.name, taken_is_error=bool(name))
    try:
        instance = _lay_out(chosen, home, config_file)
        instance = _start_agent(_prepare_agent(instance, chosen, seconds))
        _await_agent(instance, chosen, sleep, monotonic)
        instance = _start_generator(instance, chosen, seconds)
        if chosen.down:
            bring_down(instance, chosen, sleep=sleep, monotonic=monotonic)
    except BaseException:
        _clean(home)
        raise
    return instance


def restart(
    instance: Instance,
    *,
    sleep: Callable[[float], None] = time.sleep,
    monotonic: Callable[[], float] = time.monotonic,
) -> Instance:
    """Start an instance's agent and generator anew, with the same configuration; ends what still runs.

    Raises:
        LabFailed: It ended, or said neither that it is healthy nor that its programs do not load.
    """
    processes.end_all(Path(instance.directory))
    said = Path(instance.log_file).stat().st_size if Path(instance.log_file).exists() else 0
    instance = _start_agent(instance)
    fault = fault_named(instance.fault)
    _await_agent(instance, msgspec.structs.replace(fault, fails=True, down=False), sleep, monotonic, said)
    return _start_generator(instance, fault, LIFETIME_S)


def fails(instance: Instance, said: int = 0) -> bool:
    """Whether its programs don't load at the moment, by what its log says beyond ``said`` bytes."""
    file = Path(instance.log_file)
    return file.exists() and file.stat().st_size > said and TRIES_AGAIN in _last_line(instance)


def stop(instance: Instance) -> None:
    """End its processes, then remove its cgroup and its directory. What is gone already is fine."""
    _clean(Path(instance.directory))


def _clean(directory: Path) -> None:
    processes.end_all(directory)
    for instance in instances(directory.parent):
        if instance.name != directory.name:
            continue
        if instance.cgroup:
            cgroup.remove(Path(instance.cgroup))
        if instance.mount and os.path.ismount(instance.mount):
            subprocess.run(["umount", instance.mount], check=False)
        if instance.program and not Path(instance.program).is_relative_to(directory):
            rights.remove_program(Path(instance.program))
    shutil.rmtree(directory, ignore_errors=True)
    with contextlib.suppress(OSError):
        directory.parent.rmdir()  # the last one turns off the light


# ── start, step by step ─────────────────────────────────────────────────────────


def _check_host() -> None:
    if os.geteuid() != 0:
        raise LabFailed(
            "the practice agent loads BPF programs, which takes root", fix="sudo runbook lab start"
        )
    for built in (processes.AGENT, processes.GENERATOR, processes.OBJECT):
        if not built.exists():
            raise LabFailed(f"{built.name} is not built", fix="make objects")


def _lay_out(fault: Fault, directory: Path, config_file: Path | None) -> Instance:
    """Its first ``instance.json``, which already names all there will be; then config and cgroup."""
    port, log_file = _free_port(), directory / "agent.log"
    sources = own_sources(fault.sources, port)
    if config_file is not None:
        port, log_file = _read_config(config_file, log_file)
        sources = fault.sources
    base = f"http://127.0.0.1:{port}"
    instance = Instance(
        name=directory.name,
        fault=fault.name,
        directory=str(directory),
        config_file=str((config_file or directory / "config.yaml").absolute()),
        log_file=str(log_file),
        metrics_url=f"{base}/metrics",
        health_url=f"{base}/healthz",
        sources=sources,
        cgroup=_group(fault, f"runbook-lab-{directory.name}-{port}"),
        mount=str(directory / "bpffs") if fault.unmounted else "",
    )
    save(instance)
    if config_file is None:
        _write_config(instance, fault, port)
    if instance.cgroup:
        cgroup.make(Path(instance.cgroup), cores=fault.quota_cores, memory_bytes=fault.memory_bytes)
    return instance


def _group(fault: Fault, name: str) -> str:
    """Where its own cgroup will be, if it gets one.

    Raises:
        NoController: It takes one to have this fault.
    """
    if fault.quota_cores:
        return str(cgroup.place(name))
    try:
        return str(cgroup.place(name, "memory")) if fault.memory_bytes else ""
    except cgroup.NoController:
        if fault.memory_bytes and fault.memory_bytes < AMPLE:
            raise
        return ""


def _write_config(instance: Instance, fault: Fault, port: int) -> None:
    provoking = own_sources(fault.provoked_by, port)
    comms = ", ".join(source.split(":")[0] for source in (*instance.sources, *provoking))
    settings = {"metrics.port": str(port), "log.file": instance.log_file, "filter.comms": f"[{comms}]"}
    settings |= {path: value.replace("{port}", str(port)) for path, value in fault.settings.items()}
    if fault.stalled_exporter:
        fifo = Path(instance.directory) / "exporter.fifo"
        os.mkfifo(fifo, 0o600)
        settings["exporter.to"] = str(fifo)
    if fault.fails:
        settings["practice.retry_after"] = RETRY
    if instance.mount:
        Path(instance.mount).mkdir()
        settings["pin.directory"] = instance.mount
    Path(instance.config_file).write_text(render(settings))


def _new_directory(root: Path, name: str, *, taken_is_error: bool) -> Path:
    if not name.replace("-", "").replace("_", "").isalnum():
        raise UsageError(f"{name!r} is no name for an instance", fix="use letters, digits, - and _")
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    for number in range(1, 1000):
        directory = root / (name if number == 1 else f"{name}-{number}")
        try:
            directory.mkdir(mode=0o700)
        except FileExistsError:
            if taken_is_error:
                raise UsageError(
                    f"there is a practice agent named {name!r}", fix=f"runbook lab stop {name}"
                ) from None
        else:
            return directory
    raise UsageError(f"a thousand agents named {name!r}", fix="runbook lab stop --all")


def _read_config(file: Path, log_file: Path) -> tuple[int, Path]:
    """The port and the log file that an operator's own configuration gives the agent."""
    import yaml  # noqa: PLC0415 (only here, and not cheap)

    try:
        document: Any = yaml.safe_load(file.read_text())
        port = int((document.get("metrics") or {}).get("port") or 9435)
        return port, Path((document.get("log") or {}).get("file") or log_file)
    except (OSError, yaml.YAMLError, AttributeError, ValueError) as error:
        raise UsageError(f"{file}: {error}", fix="see lab-agent.yaml for what it may hold") from None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _prepare_agent(instance: Instance, fault: Fault, seconds: int) -> Instance:
    """What starts the agent, and what it is denied."""
    directory = Path(instance.directory)
    program = rights.own_program(directory) if fault.as_nobody else processes.AGENT
    argv = [str(program), "--config", instance.config_file, "--pid-file", str(directory / "agent.pid")]
    argv += ["--for", str(seconds)]
    if fault.supervised:
        argv.append("--supervise")
    if fault.without_capabilities:
        argv = rights.without_capabilities(argv)
    if fault.as_nobody:
        rights.hand_over(directory)
        argv = rights.as_nobody(argv)
    return msgspec.structs.replace(instance, argv=tuple(argv), program=str(program))


def _start_agent(instance: Instance) -> Instance:
    argv = cgroup.inside(Path(instance.cgroup), instance.argv) if instance.cgroup else instance.argv
    pid = processes.spawn(argv, Path(instance.directory) / "agent.log")
    return save(msgspec.structs.replace(instance, pid=pid, started_ticks=processes.started_ticks(pid)))


def _await_agent(
    instance: Instance,
    fault: Fault,
    sleep: Callable[[float], None],
    monotonic: Callable[[], float],
    said: int = 0,
) -> None:
    """Until it is healthy; or, for a fault that keeps it from loading, until it has said so or has ended."""

    def has_said() -> bool:
        code = processes.ended(instance.pid)
        if code is not None and not fault.down:
            raise LabFailed(f"the agent ended with {code}: {_last_line(instance)}", fix="runbook doctor")
        return code is not None or (fault.fails and fails(instance, said)) or _answers(instance.health_url)

    if not until(has_said, START_WAIT_S, sleep=sleep, monotonic=monotonic):
        raise LabFailed(
            f"no answer from the agent in {START_WAIT_S:.0f} s: {_last_line(instance)}", fix="runbook doctor"
        )


def _start_generator(instance: Instance, fault: Fault, seconds: int) -> Instance:
    directory = Path(instance.directory)
    argv = [
        str(processes.GENERATOR),
        "--pid-file",
        str(directory / "generator.pid"),
        "--keys",
        str(fault.keys),
    ]
    argv += ["--for", str(seconds), "--with-pid", str(instance.pid)]
    for source in instance.sources:
        argv += ["--source", source]
    pid = processes.spawn(argv, directory / "generator.log")
    return save(msgspec.structs.replace(instance, generator_pid=pid))


def _answers(url: str) -> bool:
    from urllib.request import urlopen  # noqa: PLC0415 (not cheap)

    try:
        with urlopen(url, timeout=0.2) as answer:  # noqa: S310 (our own, on loopback)
            return bool(answer.status == 200)
    except OSError:
        return False


def _last_line(instance: Instance) -> str:
    """The last thing the agent said: in its log, or on standard error before it had opened that."""
    for file in (Path(instance.log_file), Path(instance.directory) / "agent.log"):
        with contextlib.suppress(OSError):
            lines = file.read_text(errors="replace").strip().splitlines()
            if lines:
                return lines[-1]
    return "its log is empty"
