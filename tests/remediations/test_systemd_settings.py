"""Flags and variables of a systemd service: read as systemd reads them, changed in a drop-in of ours."""

import json
import subprocess
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import ChangedSince, ChangeFailed
from engine.values import Change, Knob, Process, Reload, Target
from remediations.knobs.backend import NotChanged
from remediations.knobs.command_line import quoted, words
from remediations.knobs.process_argument import ProcessArgument
from remediations.knobs.systemd_argument import SystemdArgument
from remediations.knobs.systemd_environment import SystemdEnvironment
from remediations.ring_buffer_size import RingBufferSize

UNIT = """\
[Unit]
Description=Agent of eBPF
# ExecStart=/not/this
[Service]
Type=simple
Environment="OPTIONS=a b" RB=64k
ExecStart=-/usr/bin/agent --rb-size 64k \\
    ; a comment in between
    --buffers kernel.events=1024 --buffers pipeline=1000 \\
    -o "engine.kind=modern ebpf" --filter='proc.name = "x"' --verbose --share=50%%
Restart=always
"""


class Systemctl:
    """Stands for systemd: reads the directory at daemon-reload, starts anew at restart."""

    def __init__(self, units, fragment):
        self.units, self.fragment = units, fragment
        self.calls, self.pid, self.state = [], 4711, "active"
        self.after_restart = "active"
        self.dropins = ()
        self.broken = None
        self("systemctl", "daemon-reload")

    def __call__(self, *argv):
        _, verb, *_ = words_of = argv[0] if isinstance(argv[0], tuple) else argv
        self.calls.append(" ".join(words_of[1:2]))
        if self.broken == verb:
            raise subprocess.CalledProcessError(1, words_of, stderr="Failed to connect to bus\n")
        if verb == "daemon-reload":
            self.dropins = tuple(str(each) for each in sorted(self.units.glob("agent.service.d/*.conf")))
        elif verb == "restart":
            self.pid, self.state = self.pid + 1, self.after_restart
        elif words_of[-1] != "agent.service":
            return "LoadState=not-found\nId=x.service\n"
        return (
            f"Id=agent.service\nLoadState=loaded\nActiveState={self.state}\nMainPID={self.pid}\n"
            f"FragmentPath={self.fragment}\nDropInPaths={' '.join(self.dropins)}\n"
        )


@pytest.fixture
def systemd(tmp_path):
    units = tmp_path / "etc"
    units.mkdir()
    fragment = tmp_path / "agent.service"
    fragment.write_text(UNIT)
    return Systemctl(units, fragment)


AGENT = Target(name="agent", ref="agent", processes=(Process(pid=1, argv=("agent",)),))


def knob(path, unit="bytes", name="agent.service", backend="systemd-argument"):
    return Knob(
        name="k", backend=backend, path=path, unit=unit, reload=Reload(by="systemd", unit=name, settle_s=5)
    )


def changed(hands, one, after):
    """Read, capture through JSON, write."""
    before = hands.read(one, AGENT)
    assert not before.missing, before.missing
    change = Change(knob=one, before=before.value, after=after, before_text="b", after_text="a", why="w")
    captured = json.loads(json.dumps(hands.capture(change, AGENT)))
    hands.write(change, AGENT, captured)
    return change, captured


def tree(systemd):
    return {str(each): each.read_bytes() for each in systemd.units.rglob("*") if each.is_file()}


# ── flags ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("path", "unit", "value", "after", "written"),
    [
        ("--rb-size", "bytes", "64k", "128k", "--rb-size 128k"),
        ("--buffers kernel.events=", "pages", 1024, 2048, "--buffers kernel.events=2048"),
        ("--buffers pipeline=", "count", 1000, 5000, "--buffers pipeline=5000"),
        ("-o engine.kind=", "text", "modern ebpf", "kmod", '-o "engine.kind=kmod"'),
        ("--filter", "text", 'proc.name = "x"', "it's $5", "--filter='it\\'s $$5'"),
        ("--share", "text", "50%", "60%", "--share=60%%"),
        ("--verbose", "bool", True, False, "--verbose=false"),
        ("--queue", "count", None, 7, "--queue=7"),
        ("-b", "pages", None, 128, "-b 128"),
        ("--buffers kernel.artifacts=", "pages", None, 64, "--buffers kernel.artifacts=64"),
        ("-o outputs_queue.capacity=", "count", None, 9, "-o outputs_queue.capacity=9"),
        ("--quiet", "bool", None, True, " --quiet\n"),
    ],
)
def test_each_form_of_a_flag_is_read_and_written_as_it_stands_there(
    systemd, path, unit, value, after, written
):
    """The other words keep their very writing; undo leaves no file and no directory."""
    hands = SystemdArgument(systemd, systemd.units)
    one = knob(path, unit)
    assert hands.read(one, AGENT).value == value
    change, captured = changed(hands, one, after)

    (text,) = tree(systemd).values()
    command = text.decode().partition("\nExecStart=\nExecStart=")[2]
    assert written in command
    kept = ["--verbose", "--share=50%%", '-o "engine.kind=modern ebpf"', "--filter='proc.name = \"x\"'"]
    name = path.partition(" ")[0]
    assert all(word in command for word in kept if name not in word)
    assert command.startswith("-/usr/bin/agent --rb-size")
    assert hands.read(one, AGENT).value == after
    assert hands.state(change, AGENT, captured) == "after"
    assert systemd.calls[-3:].count("daemon-reload") == 1

    assert hands.restore(change, AGENT, captured).reload
    assert tree(systemd) == {}
    assert not list(systemd.units.iterdir())
    assert hands.read(one, AGENT).value == value
    assert hands.restore(change, AGENT, captured).reload is False, "as if it had never been"


def test_two_flags_share_the_drop_in_and_each_is_taken_back_alone(systemd):
    """In any order, the one that stays is still in force."""
    hands = SystemdArgument(systemd, systemd.units)
    first, captured_first = changed(hands, knob("--rb-size"), "128k")
    second, captured_second = changed(hands, knob("--queue", "count"), 7)
    assert len(tree(systemd)) == 1
    hands.restore(first, AGENT, captured_first)
    assert hands.read(knob("--rb-size"), AGENT).value == "64k"
    assert hands.read(knob("--queue", "count"), AGENT).value == 7
    hands.restore(second, AGENT, captured_second)
    assert tree(systemd) == {}


def test_what_somebody_else_has_set_is_left_alone(systemd):
    """In our drop-in or in theirs."""
    hands = SystemdArgument(systemd, systemd.units)
    change, captured = changed(hands, knob("--rb-size"), "128k")
    with pytest.raises(ChangedSince):
        hands.write(change, AGENT, captured)
    (file,) = tree(systemd)
    text = (systemd.units / "agent.service.d" / "zz-runbook-arguments.conf").read_text()
    edited = text.replace("--rb-size 128k", "--rb-size 1M")
    (systemd.units / "agent.service.d" / "zz-runbook-arguments.conf").write_text(edited)
    assert hands.state(change, AGENT, captured) == "other"
    with pytest.raises(ChangedSince, match="1M"):
        hands.restore(change, AGENT, captured)
    assert tree(systemd) == {file: edited.encode()}


def test_killed_between_the_file_and_the_daemon_reload_the_file_is_seen_and_taken_back(systemd):
    """systemd does not list it yet; undo must."""
    hands = SystemdArgument(systemd, systemd.units)
    systemd.broken = "daemon-reload"
    with pytest.raises(ChangeFailed, match="daemon-reload"):
        changed(hands, knob("--rb-size"), "128k")
    systemd.broken = None
    change = Change(knob=knob("--rb-size"), before="64k", after="128k", before_text="", after_text="", why="")
    captured = {
        "absent": False,
        "raw": "64k",
        "written": "128k",
        "unit": "agent.service",
        "directory_is_new": True,
        "stamp": "",
        "file": str(systemd.units / "agent.service.d" / "zz-runbook-arguments.conf"),
    }
    assert hands.state(change, AGENT, captured) == "after"
    hands.restore(change, AGENT, captured)
    assert tree(systemd) == {}


def test_killed_while_the_file_was_made_undo_leaves_nothing_behind(systemd):
    """Neither the half-written file nor the directory."""
    hands = SystemdArgument(systemd, systemd.units)
    change = Change(knob=knob("--rb-size"), before="64k", after="128k", before_text="", after_text="", why="")
    captured = hands.capture(change, AGENT)
    (systemd.units / "agent.service.d").mkdir()
    (systemd.units / "agent.service.d" / ".zz-runbook-arguments.conf.x1.runbook").write_text("[Serv")
    hands.restore(change, AGENT, captured)
    assert not list(systemd.units.iterdir())


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("ExecStart=/bin/sh -c 'agent --rb-size 64k'", "through sh"),
        ("ExecStart=/usr/bin/agent $OPTIONS", "a variable of the unit"),
        ("ExecStart=/usr/bin/agent --rb-size ${SIZE}", "made by systemd"),
        ("ExecStart=/usr/bin/agent --rb-size %i", "made by systemd"),
        ("ExecStart=/usr/bin/agent 'a", "never closed"),
        ("ExecStart=/usr/bin/agent \\q", "unknown escape"),
        ("ExecStart=/usr/bin/agent ; /usr/bin/other", "several commands"),
        ("ExecStart=/bin/true\nExecStart=/usr/bin/agent", "2 ExecStart"),
        ("", "no ExecStart"),
    ],
)
def test_a_command_that_only_systemd_can_tell_is_refused_with_its_place(systemd, line, said):
    """Never a guess about what the agent is given."""
    systemd.fragment.write_text(f"[Service]\n{line}\n")
    seen = SystemdArgument(systemd, systemd.units).read(knob("--rb-size"), AGENT)
    assert said in seen.missing
    assert not seen.absent


def test_a_drop_in_that_is_read_after_ours_blocks_the_change(systemd):
    """Our line would not count."""
    late = systemd.units / "agent.service.d" / "zzz.conf"
    late.parent.mkdir()
    late.write_text("[Service]\nExecStart=\nExecStart=/usr/bin/agent --rb-size 1M\n")
    systemd("systemctl", "daemon-reload")
    seen = SystemdArgument(systemd, systemd.units).read(knob("--rb-size"), AGENT)
    assert seen.value == "1M"
    assert "after any drop-in of ours" in seen.missing


def test_no_such_unit_is_an_absent_place_and_a_silent_systemd_is_unknown(systemd):
    """Only the first lets another place be looked at."""
    hands = SystemdArgument(systemd, systemd.units)
    assert hands.read(knob("--x", name="other.service"), AGENT).absent
    systemd.broken = "show"
    seen = hands.read(knob("--rb-size"), AGENT)
    assert not seen.absent
    assert "Failed to connect to bus" in seen.missing


# ── restarting ──────────────────────────────────────────────────────────────────


def test_the_service_is_restarted_and_watched_for_a_while(systemd, clock):
    """A service that ends at once is 'active' first."""
    hands = SystemdArgument(systemd, systemd.units)
    change, _ = changed(hands, knob("--rb-size"), "128k")
    assert hands.follow(change, AGENT, clock, lambda: None) == ""
    assert "restart" in systemd.calls
    assert clock.at >= 2
    with pytest.raises(ChangeFailed, match="no sign"):
        hands.follow(change, AGENT, clock, lambda: False)
    systemd.after_restart = "failed"
    with pytest.raises(ChangeFailed, match="is failed"):
        hands.follow(change, AGENT, clock, lambda: None)
    systemd.state = "inactive"
    assert "is stopped" in hands.follow(change, AGENT, clock, lambda: None)


def test_a_unit_that_does_not_run_is_not_changed(systemd):
    """Nobody could see whether it helped."""
    systemd.state = "inactive"
    with pytest.raises(NotChanged, match="does not run"):
        changed(SystemdArgument(systemd, systemd.units), knob("--rb-size"), "128k")


def test_a_remediation_restarts_the_service_instead_of_reloading_it(systemd, clock, agent, monkeypatch):
    """A reload would keep the old command line."""
    hands = SystemdArgument(systemd, systemd.units)
    monkeypatch.setattr("remediations.knob_change.hands", lambda _name: hands)
    target = agent.target
    change = Change(
        knob=knob("--rb-size"), before="64k", after="128k", before_text="b", after_text="a", why="w"
    )
    remediation = RingBufferSize(clock)
    captured = json.loads(json.dumps(remediation.capture(change, target)))
    remediation.apply(change, target, captured)
    assert systemd.calls.count("restart") == 1
    assert remediation.state(change, target, captured) == "after"
    remediation.undo(change, target, captured)
    assert systemd.calls.count("restart") == 2
    assert tree(systemd) == {}
    assert hands.by_hand(change, hands.read(change.knob, target), target).endswith("restart agent.service")


# ── variables ───────────────────────────────────────────────────────────────────


def variable(path, unit="text"):
    return knob(path, unit, backend="systemd-environment")


@pytest.mark.parametrize(
    ("name", "value", "after"),
    [("RB", "64k", "128k"), ("OPTIONS", "a b", 'x "y" 50% $1 \\'), ("BPFTRACE_PERF_RB_PAGES", None, "256")],
)
def test_a_variable_is_set_by_a_line_of_ours(systemd, name, value, after):
    """And undo takes it away."""
    hands = SystemdEnvironment(systemd, systemd.units)
    assert hands.read(variable(name), AGENT).value == value
    change, captured = changed(hands, variable(name), after)
    assert hands.read(variable(name), AGENT).value == after
    assert hands.state(change, AGENT, captured) == "after"
    with pytest.raises(ChangedSince):
        hands.write(change, AGENT, captured)
    hands.restore(change, AGENT, captured)
    assert hands.read(variable(name), AGENT).value == value
    assert not list(systemd.units.iterdir())


def test_two_variables_share_the_drop_in_and_a_second_step_goes_back_to_the_first(systemd):
    """Undo of the last change alone must not lose the one before it."""
    hands = SystemdEnvironment(systemd, systemd.units)
    other, captured_other = changed(hands, variable("A"), "1")
    first, captured_first = changed(hands, variable("RB"), "128k")
    second, captured_second = changed(hands, variable("RB"), "256k")
    hands.restore(second, AGENT, captured_second)
    assert hands.read(variable("RB"), AGENT).value == "128k"
    hands.restore(other, AGENT, captured_other)
    assert hands.read(variable("RB"), AGENT).value == "128k"
    hands.restore(first, AGENT, captured_first)
    assert tree(systemd) == {}


def test_a_variable_of_an_environment_file_is_changed_there(systemd, tmp_path):
    """It would win over any line of ours."""
    file = tmp_path / "default"
    file.write_text("# sizes\nRB='32k'\n")
    systemd.fragment.write_text(f"{UNIT}EnvironmentFile=-{file}\nEnvironmentFile=-{tmp_path}/none\n")
    hands = SystemdEnvironment(systemd, systemd.units)
    seen = hands.read(variable("RB"), AGENT)
    assert (seen.value, seen.source) == ("32k", f"{file}:2")
    change, captured = changed(hands, variable("RB"), "64k")
    assert file.read_text() == "# sizes\nRB='64k'\n"
    assert hands.state(change, AGENT, captured) == "after"
    hands.restore(change, AGENT, captured)
    assert file.read_text() == "# sizes\nRB='32k'\n"
    assert hands.read(variable("OPTIONS"), AGENT).value == "a b"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("Environment=RB=%h/x", "systemd makes"),
        ("UnsetEnvironment=RB", "takes RB away"),
        ("EnvironmentFile=/etc/%p", "specifier"),
    ],
)
def test_a_variable_that_only_systemd_can_tell_is_refused(systemd, more, said):
    """Never a guess."""
    systemd.fragment.write_text(f"{UNIT}{more}\n")
    assert said in SystemdEnvironment(systemd, systemd.units).read(variable("RB"), AGENT).missing


# ── words ───────────────────────────────────────────────────────────────────────


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="aß \\\"'$%;#=-\t\n/", min_size=1), st.sampled_from(["", "'x'", '"x"', "x"]))
def test_a_quoted_word_reads_back_as_itself(word, like):
    """Whatever stands in it."""
    (read,) = words(quoted(word, like), "here")
    assert read.said == word


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="ab \\\"'x0u{}$%;", max_size=14))
def test_any_command_line_is_read_or_refused(text):
    """No input makes it fall over; words lie in the text one behind the other."""
    try:
        found = words(text, "here")
    except NotChanged:
        return
    assert not any(text[a.end : b.start].strip() for a, b in pairwise(found))


# ── a running process ───────────────────────────────────────────────────────────


def test_the_flag_of_a_process_is_read_and_says_how_it_is_changed():
    """Nobody knows what started it, so nothing is written."""
    argv = ("agent", "-b", "64", "--x=5", "--", "--x=9")
    target = Target(name="agent", ref="agent", processes=(Process(pid=7, argv=argv),))
    hands = ProcessArgument()
    seen = hands.read(knob("-b", "pages"), target)
    assert (seen.value, seen.raw, seen.absent) == (64, "64", False)
    assert "start it anew with another -b" in seen.missing
    assert hands.read(knob("--x", "count"), target).value == 5
    gone = hands.read(knob("--y", "count"), target)
    assert (gone.value, gone.raw, gone.absent) == (None, None, True)
    assert "no flag" in hands.read(knob("y", "count"), target).missing
