"""The bcc probe without root or bcc: which headers are taken, and what is refused before anything starts."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from bpf.bcc import headers
from bpf.bcc.bcc_host import BccMissing, interpreter
from bpf.bcc.bcc_probe import BccProbe
from engine.errors import ProbeFailed

HARMLESS = "#include <uapi/linux/ptrace.h>\nTRACEPOINT_PROBE(raw_syscalls, sys_exit) { return args->ret; }"


def header_directory(at: Path, release: str, *, kconfig: bool = True) -> Path:
    """A directory that looks like installed kernel headers."""
    architecture = {"x86_64": "x86", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    (at / "include/generated").mkdir(parents=True)
    (at / f"arch/{architecture}/include").mkdir(parents=True)
    (at / "include/generated/utsrelease.h").write_text(f'#define UTS_RELEASE "{release}"\n')
    if kconfig:
        (at / "include/linux").mkdir()
        (at / "include/linux/kconfig.h").touch()
    return at


def choose(text: str, given: Path | str, scratch: Path, *, reads_kernel: bool) -> Path | None:
    return headers.choose(
        text, reads_kernel=reads_kernel, release="9.9.9-test", given=str(given), scratch=scratch
    )


def test_headers_of_another_kernel_are_refused(tmp_path):
    """They compile and then read wrong offsets: evidence that lies is worse than none."""
    other = header_directory(tmp_path / "other", "6.1.0-50-amd64")
    with pytest.raises(ProbeFailed, match="wrong offsets"):
        choose(HARMLESS, other, tmp_path, reads_kernel=True)


def test_headers_of_another_kernel_serve_a_program_that_reads_no_kernel_structure(tmp_path):
    """A tracepoint's arguments come in the running kernel's format, whatever the headers."""
    other = header_directory(tmp_path / "other", "6.1.0-50-amd64")
    assert choose(HARMLESS, other, tmp_path, reads_kernel=False) == other


def test_headers_of_the_running_kernel_serve_every_program(tmp_path):
    """Nothing is asked of the author when the headers match."""
    own = header_directory(tmp_path / "own", "9.9.9-test")
    assert choose("struct task_struct *task;", own, tmp_path, reads_kernel=True) == own


@pytest.mark.parametrize(
    "text",
    [
        "struct task_struct *t = (void *)bpf_get_current_task();",
        "bpf_probe_read_kernel(&x, 8, p);",
        "#include <linux/sched.h>",
        "#include <net/sock.h>",
    ],
)
def test_a_declaration_that_the_text_belies_is_refused(tmp_path, text):
    """`reads_kernel: false` is a promise; a program that plainly breaks it gets no wrong headers."""
    other = header_directory(tmp_path / "other", "6.1.0-50-amd64")
    with pytest.raises(ProbeFailed, match="declares"):
        choose(text, other, tmp_path, reads_kernel=False)


def test_the_two_halves_of_a_distribution_s_package_are_found_and_merged(tmp_path):
    """Debian splits the headers in two; bcc wants one directory."""
    sources = tmp_path / "src"
    generated = header_directory(sources / "linux-headers-6.1.0-50-amd64", "6.1.0-50-amd64", kconfig=False)
    common = header_directory(sources / "linux-headers-6.1.0-50-common", "", kconfig=True)
    (common / "include/generated/utsrelease.h").unlink()
    (common / "include/generated").rmdir()
    header_directory(sources / "linux-headers-6.1.0-9-amd64", "6.1.0-9-amd64", kconfig=False)

    halves = headers.any_halves(sources)
    merged = headers.merge(halves, tmp_path / "merged")

    assert set(halves) == {generated, common}
    assert (merged / "include/linux/kconfig.h").exists()
    assert headers.release_of(merged) == "6.1.0-50-amd64"


def test_without_bcc_the_error_says_what_to_install():
    """pip's bcc is another program: the fix must name the distribution's package."""
    with pytest.raises(BccMissing) as told:
        interpreter(["/bin/false"])
    assert "python3-bpfcc" in told.value.fix


class IdleWindow:
    """A window that must not be begun."""

    clock = None

    def __init__(self, directory: Path, **options: object) -> None:
        self.directory, self.options = str(directory), options


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "needs its program"),
        ({"source": "absent.c"}, "can't be read"),
        ({"source": "here.c", "memory": "lots"}, "memory"),
        ({"source": "here.c", "timeout": -1}, "timeout"),
    ],
)
def test_wrong_options_are_told_before_anything_starts(tmp_path, options, says):
    """A misspelt option costs nothing but its message."""
    (tmp_path / "here.c").write_text(HARMLESS)
    window = IdleWindow(tmp_path, **options)
    window.clock = type("NoClock", (), {"monotonic": staticmethod(lambda: 0.0)})
    with pytest.raises(ProbeFailed, match=says):
        BccProbe().collect(None, window)
