"""What works on this machine, and what mends the rest."""

import gzip

import pytest

from engine import catalog, doctor
from engine.values import Support


class Probe:
    """A stranger's probe that answers, or fails, when asked."""

    name, short, summary, fields, options = "x", "x", "looks", {}, {}
    needs_target, cpu_ceiling = False, 1.0

    def __init__(self, answer):
        self.answer = answer

    def supported(self, target):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def collect(self, target, window):
        raise AssertionError("doctor asks whether it can look, and never looks")


def a_root(tmp_path, effective="000001ffffffffff", btf=True):
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/status").write_text(f"Name:\tx\nCapEff:\t{effective}\n")
    (tmp_path / "sys/kernel/btf").mkdir(parents=True)
    if btf:
        (tmp_path / "sys/kernel/btf/vmlinux").write_text("")
    return tmp_path


def test_missing_capabilities_are_named_with_their_use(tmp_path):
    """'Operation not permitted' tells nobody what to grant."""
    answer = doctor.privileges(a_root(tmp_path, effective="0" * 16))
    assert answer.answer == "no"
    assert "CAP_BPF (loading BPF programs)" in answer.why
    assert answer.fix


def test_a_fact_that_can_not_be_read_is_unknown_not_no(tmp_path):
    """'Could not find out' is never 'no'."""
    assert doctor.privileges(tmp_path).answer == "unknown"
    assert doctor.btf(tmp_path).answer == "unknown"


def test_a_kernel_without_btf_is_a_no_with_the_option_to_look_for(tmp_path):
    """The operator needs the name of the kernel option, not of our loader's error."""
    answer = doctor.btf(a_root(tmp_path, btf=False))
    assert (answer.answer, "CONFIG_DEBUG_INFO_BTF" in answer.why) == ("no", True)


@pytest.mark.parametrize(
    ("option", "why"),
    [
        ("CONFIG_DEBUG_INFO_BTF=y", "something hides it"),
        ("# CONFIG_DEBUG_INFO_BTF is not set", "was built without"),
    ],
)
def test_btf_that_is_hidden_is_not_btf_that_was_left_out(tmp_path, option, why):
    """A container without the host's /sys needs a mount, not another kernel."""
    root = a_root(tmp_path, btf=False)
    (root / "proc/config.gz").write_bytes(gzip.compress(f"CONFIG_BPF=y\n{option}\n".encode()))
    assert why in doctor.btf(root).why


def test_a_journal_that_can_be_made_is_a_yes_and_nothing_is_made(tmp_path):
    """A doctor that changes the patient is no doctor."""
    place = tmp_path / "new" / "state"
    assert doctor.journal_place(place).answer == "yes"
    assert not place.parent.exists()


def test_a_journal_below_a_file_is_a_no(tmp_path):
    """Without a journal nothing is changed, so this must be said before the night shift."""
    (tmp_path / "file").write_text("")
    answer = doctor.journal_place(tmp_path / "file" / "state")
    assert answer.answer == "no"
    assert "--state" in answer.fix


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (Support(answer="yes", why="ready"), "yes"),
        (Support(answer="no", why="old kernel", fix="upgrade"), "no"),
        (ValueError("broken inside"), "unknown"),
        ("nonsense", "unknown"),
    ],
)
def test_a_strangers_probe_can_not_end_the_examination(given, expected):
    """One bad package must not hide what works."""
    parts = catalog.of({"probe": {"x": Probe(given)}})
    checks = {check.name: check.support.answer for check in doctor.examine(parts)}
    assert checks["x"] == expected


def test_only_what_is_needed_decides_the_exit_code():
    """bcc is optional: its absence must not fail a machine that can do the main job."""
    yes, no = Support(answer="yes"), Support(answer="no")
    need = doctor.Check(group="machine", name="a", support=yes, needed=True)
    extra = doctor.Check(group="probe", name="bcc", support=no)
    assert doctor.healthy([need, extra])
    assert not doctor.healthy([doctor.Check(group="machine", name="a", support=no, needed=True)])
