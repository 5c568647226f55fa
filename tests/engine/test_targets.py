"""Which agents run here: profiles, processes and BPF owners put together."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from engine.agents import profiles
from engine.agents.processes import ProcessTable
from engine.agents.targets import Finder
from engine.errors import DocumentError, ProbeFailed, TargetAmbiguous, TargetNotFound
from engine.language.loader import shipped
from engine.values import BpfLink, BpfMap, BpfProgram, Counter, Inventory, KnownMap

PROFILE = """\
profile: lab
match: {comm: lab-agent-with-a-long-name}
drop_visibility: full
config: {argument: [--config, -c], otherwise: /etc/lab.yaml}
metrics: "http://127.0.0.1:{config.metrics.port}/metrics"
health: "http://127.0.0.1:{config.nothing.here}/healthz"
log: "{config.log|agent.log}"
events: {rings: [events_of_a_long_name]}
counters:
  - {counts: dropped, stage: ring, source: bpf-variable, name: dropped}
reload: {by: signal, signal: SIGHUP, settle: 5s, loses: [a, b]}
facts: {home: "{environment.HOME}", who: "{pid}"}
knobs:
  ring-buffer-size:
    {backend: yaml-file, path: ring.size, unit: pages, default: 256KiB, minimum: 16KiB, maximum: 1024}
  poll-interval: {backend: yaml-file, path: poll, unit: ms, maximum: 2s, reload: {by: none}}
  sampling:
    backend: yaml-file
    path: sample
    live: {backend: bpf-variable, path: sample_n}
  cpu-quota: {backend: cgroup, unit: cores}
"""
COMM = "lab-agent-with-"  # what the kernel keeps of it


class Machine:
    """A made-up /proc and a made-up inventory."""

    def __init__(self, root):
        self.root = root
        self.maps, self.programs, self.links = [], [], []
        self.profiles = []
        (root / "proc").mkdir()

    def profile(self, text=PROFILE):
        path = self.root / f"{len(self.profiles)}.yaml"
        path.write_text(text)
        self.profiles.append(profiles.load(path))

    def process(
        self, pid, comm=COMM, argv=("agent",), started=100, cgroup="0::/\n", environ="HOME=/root\0", parent=1
    ):
        folder = self.root / "proc" / str(pid)
        folder.mkdir()
        (folder / "comm").write_text(f"{comm}\n")
        (folder / "cmdline").write_bytes("\0".join(argv).encode() + b"\0")
        (folder / "cgroup").write_text(cgroup)
        (folder / "environ").write_text(environ)
        (folder / "stat").write_text(f"{pid} ({comm}) S {parent} " + "0 " * 17 + f"{started} 0 0\n")
        (folder / "cwd").symlink_to(self.root)
        (folder / "exe").symlink_to(f"/usr/bin/{comm}")

    def holds(self, pid, ring="events_of_a_lon", number=7):
        self.maps += [
            BpfMap(id=number, name=ring, type="ringbuf", owners=(pid,)),
            BpfMap(id=number + 1, name="other", type="hash", owners=(pid,)),
        ]
        self.programs.append(BpfProgram(id=number, name="handle", type="tracing", owners=(pid,)))
        self.links.append(BpfLink(id=number, type="tracing", owners=(pid,)))

    def config(self, text, name="agent.yaml"):
        path = self.root / name
        path.write_text(text)
        return str(path)

    def finder(self, read_inventory=None):
        def inventory():
            maps, programs, links = map(tuple, (self.maps, self.programs, self.links))
            return Inventory(taken_at=0, source="made up", maps=maps, programs=programs, links=links)

        return Finder(
            self.profiles,
            read_inventory or inventory,
            read_processes=lambda: ProcessTable(self.root / "proc"),
        )


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


@pytest.fixture
def lab(machine):
    machine.profile()
    file = machine.config("metrics: {port: 9435}\nlog: logs/a.log\n")
    machine.process(10, argv=("agent", "--config", file))
    machine.holds(10)
    return machine


def test_a_profile_is_filled_in_for_the_process(lab):
    """Probes and remediations get addresses and files, never placeholders."""
    target = lab.finder().find()
    file = f"{lab.root}/agent.yaml"
    assert (target.name, target.ref, target.pid) == ("lab", f"lab:{file}", 10)
    assert target.metrics_url == "http://127.0.0.1:9435/metrics"
    assert target.log_file == f"{lab.root}/logs/a.log"
    assert target.facts == {"home": "/root", "who": "10"}
    assert (target.rings, target.map_ids, target.program_ids, target.link_ids) == ((7,), (7, 8), (7,), (7,))


@pytest.mark.parametrize(
    "argv",
    [
        ("/usr/bin/python3", "/usr/bin/runbook", "look", "event-flow"),
        ("/usr/bin/python3", "-m", "engine.cli", "undo", "--leases"),
        ("runbook", "run", "events-dropped"),
    ],
)
def test_a_runbook_at_work_and_its_children_are_no_agents(lab, argv):
    """They hold BPF objects while they look; an operator who sees them listed thinks of an intruder."""
    lab.process(20, comm="runbook", argv=argv)
    lab.process(21, comm="python3", argv=("python3", "-I"), parent=20)
    lab.process(22, comm="other", argv=("other", "--runbook"))
    for pid in (20, 21, 22):
        lab.holds(pid, number=pid)
    assert [target.name for target in lab.finder().find_all()] == ["lab", "other:22"]


def test_an_address_without_a_host_is_this_machines(machine):
    """Programs are told to listen on ``:2112``; what is asked needs a host."""
    machine.profile(
        'profile: lab\nmatch: {comm: agent}\nmetrics: "http://{argument.--listen|:2112}/metrics"\n'
    )
    machine.process(10, comm="agent", argv=("agent",))
    machine.process(11, comm="agent", argv=("agent", "--listen", "10.0.0.7:80"))
    urls = [target.metrics_url for target in machine.finder().find_all()]
    assert urls == ["http://127.0.0.1:2112/metrics", "http://10.0.0.7:80/metrics"]


def test_a_configuration_may_be_a_directory_of_one_file_for_each_option(machine):
    """Tetragon and Cilium have one, and say there where they listen."""
    text = "profile: lab\nmatch: {comm: agent}\nconfig: {argument: --dir}\n"
    machine.profile(
        text + 'metrics: "http://{config.metrics-server}/m"\nhealth: "http://{config.absent}/h"\n'
    )
    (machine.root / "conf.d").mkdir()
    machine.config(":2112\n", "conf.d/metrics-server")
    machine.process(10, comm="agent", argv=("agent", "--dir", f"{machine.root}/conf.d"))
    (target,) = machine.finder().find_all()
    assert (target.metrics_url, target.health_url) == ("http://127.0.0.1:2112/m", "")


def test_what_a_placeholder_can_not_find_leaves_the_field_empty(lab):
    """Half an address would be asked for, and its error would mislead."""
    assert lab.finder().find().health_url == ""


def test_knobs_have_absolute_files_and_bounds_in_their_own_unit(lab):
    """A remediation reckons with them as they are."""
    knobs = lab.finder().find().knobs
    ring = knobs["ring-buffer-size"]
    assert (ring.file, ring.default, ring.maximum) == (f"{lab.root}/agent.yaml", "256KiB", 1024.0)
    assert ring.minimum == 16384 / 4096
    assert ring.reload.settle_s == 5.0
    assert knobs["poll-interval"].maximum == 2000.0
    assert knobs["poll-interval"].reload.by == "none"
    assert knobs["sampling"].live.backend == "bpf-variable"
    assert knobs["sampling"].live.reload.by == "none"


def test_what_a_profile_says_of_maps_reaches_the_target(machine):
    """Eyes and hands read whose an entry is from one place; a knob names the map it belongs to."""
    machine.process(4, comm="mapper")
    machine.profile(
        "profile: mapper\nmatch: {comm: mapper}\n"
        "maps:\n"
        "  cache: {key: {pid_at: 8, size: 8, owner: tid}, value: {time_at: 16}, clean: false}\n"
        "  flows: {refused: {counts: refused, source: metric, name: flows_refused_total}}\n"
        "knobs: {map-capacity.cache: {backend: cgroup, map: cache}}\n"
    )
    target = machine.finder().find(pid=4)
    cache = KnownMap(pid_at=8, pid_size=8, owner="tid", time_at=16, clean=False)
    refused = Counter(counts="refused", source="metric", name="flows_refused_total")
    assert target.maps == {"cache": cache, "flows": KnownMap(refused=refused)}
    assert target.knobs["map-capacity.cache"].map == "cache"


def test_processes_with_one_configuration_are_one_agent(lab):
    """A supervisor and its worker are locked, changed and reported together; the BPF owner leads."""
    lab.process(5, argv=("agent", f"--config={lab.root}/agent.yaml"), started=50)
    target = lab.finder().find()
    assert [process.pid for process in target.processes] == [10, 5]


def test_two_agents_of_a_profile_are_told_apart(lab):
    """Changing the wrong one of two is worse than changing none."""
    lab.process(20, argv=("agent", "-c", lab.config("a: 1\n", "other.yaml")))
    finder = lab.finder()
    with pytest.raises(TargetAmbiguous) as error:
        finder.find()
    assert "lab:10" in error.value.problem
    assert "other.yaml" in error.value.problem
    assert error.value.fix == "pick one: --target lab:10"
    assert finder.find("lab:20").pid == finder.find(pid=20).pid == 20
    assert finder.find(f"lab:{lab.root}/other.yaml").pid == 20


def test_an_agent_without_profile_is_found_by_what_it_holds(machine):
    """Strangers' agents can be looked at with no preparation at all."""
    machine.process(30, comm="bpftrace")
    machine.holds(30, ring="printf_ring")
    target = machine.finder().find("bpftrace")
    assert (target.name, target.profile, target.rings) == ("bpftrace:30", "generic", (7,))
    assert list(target.knobs) == ["cpu-quota"]
    assert not target.knobs["cpu-quota"].verified


def test_without_a_hint_an_agent_with_a_profile_is_meant(lab):
    """systemd holds BPF programs on most hosts; nobody means it."""
    lab.process(1, comm="systemd", parent=0)
    lab.holds(1, number=90)
    assert lab.finder().find().name == "lab"
    assert [one.name for one in lab.finder().find_all()] == ["lab", "systemd:1"]


@pytest.mark.parametrize(
    ("match", "fits"),
    [
        ("{exe: '*/bin/other'}", True),
        ("{exe: '/opt/*'}", False),
        ("{argv: '--mode=(fast|slow)'}", True),
        ("{unit: agent}", True),
        ("{unit: agen}", False),
        ("{map: events_of_a_long_name}", True),
        ("{program: handle}", True),
        ("{program: handle, comm: nobody}", False),
    ],
)
def test_a_process_must_fit_all_that_a_profile_asks(machine, match, fits):
    """One loose match would put a stranger's process under our knobs."""
    machine.profile(f"profile: it\nmatch: {match}\n")
    machine.process(40, "other", ("other", "--mode=fast"), cgroup="0::/system.slice/agent.service\n")
    machine.holds(40)
    assert (machine.finder().find_all()[0].profile == "it") is fits


def test_a_restarted_agent_is_the_same_target(lab):
    """After a reload by restart the run goes on with the new process."""
    finder = lab.finder()
    before = finder.find()
    (lab.root / "proc" / "10").rename(lab.root / "gone")
    lab.process(11, argv=("agent", "--config", f"{lab.root}/agent.yaml"), started=999)
    after = finder.find(before.ref)
    assert (after.ref, after.pid) == (before.ref, 11)


def test_an_agent_that_ended_is_gone(lab):
    """A change is not made to whatever now has its pid."""
    finder = lab.finder()
    before = finder.find()
    (lab.root / "proc" / "10").rename(lab.root / "gone")
    with pytest.raises(TargetNotFound):
        finder.find(before.ref)


@pytest.mark.parametrize(
    ("hint", "says", "fix"),
    [
        ({"name": "lba"}, "no running agent is 'lba'", "did you mean 'lab'?"),
        ({"name": "quite-other"}, "no running agent is", "runbook targets"),
        ({"pid": 999}, "no process has the pid 999", "runbook targets"),
        ({"pid": 50}, "holds no BPF objects", "runbook targets"),
    ],
)
def test_a_hint_that_fits_nothing_is_answered(lab, hint, says, fix):
    """The operator learns what there is to choose from."""
    lab.process(50, comm="bash")
    with pytest.raises(TargetNotFound, match=says) as error:
        lab.finder().find(**hint)
    assert fix in error.value.fix


def test_without_the_right_to_list_bpf_objects_profiles_still_match(lab):
    """Could-not-look is a note, not an empty host."""

    def refused():
        raise ProbeFailed("not root", fix="use sudo")

    finder = lab.finder(refused)
    assert finder.find().name == "lab"
    assert "not root" in finder.notes[0]
    with pytest.raises(TargetNotFound, match="not root"):
        finder.find("falco")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("profile: x\nmatch: {}\n", ":2:8: nothing to match by"),
        ("profile: x\nmatch: {argv: '('}\n", ":2:15: '(' is no regular expression"),
        ("profile: x\nmatch: {comm: a}\nknobs: {workers: {backend: yaml-file}}\n", "'path' is missing"),
        ("profile: x\nmatch: {com: a}\n", "unknown key 'com' (did you mean 'comm'?)"),
        (
            "profile: x\nmatch: {comm: a}\ncounters: [{counts: lost, source: log, name: a}]\n",
            "'lost' is not known here",
        ),
        ("profile: x\nmatch: {comm: a}\nknobs: {a: {backend: cgroup, unit: MB}}\n", "'MB' is not known here"),
    ],
)
def test_a_wrong_profile_is_explained(tmp_path, text, says):
    """A profile is the one thing that operators of other agents must write."""
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(DocumentError) as error:
        profiles.load(path)
    assert says in error.value.problem


def test_one_broken_profile_does_not_hide_the_others(tmp_path):
    """It is reported and left out."""
    (tmp_path / "bad.yaml").write_text("profile: bad\n")
    known, complaints = profiles.load_all(environment={"RUNBOOK_PROFILES": str(tmp_path), "HOME": "/nowhere"})
    assert "lab" in [profile.profile for profile in known]
    assert "'match' is missing" in complaints[0]


def test_shipped_profiles_are_right():
    """Each one loads and bears the name of its file."""
    for path in (shipped() / "agents").glob("*.yaml"):
        assert profiles.load(path).profile == path.stem


# ── agents that are set up and do not run ───────────────────────────────────────


@pytest.fixture
def stopped(machine):
    """A profile that says how to start its agent, and two configurations of which one is in use."""
    start = 'start: {by: command, argv: ["{python}", -m, agent, "{file}"], settle: 3s}\n'
    text = PROFILE.replace("reload:", start + "reload:", 1)
    text = re.sub(
        r"config: .*", f"config: {{argument: --config, installed: '{machine.root}/*/agent.yaml'}}", text
    )
    machine.profile(text)
    for name in ("one", "two"):
        (machine.root / name).mkdir()
        machine.config("metrics: {port: 9435}\n", f"{name}/agent.yaml")
    machine.process(10, argv=("agent", "--config", f"{machine.root}/one/agent.yaml"))
    machine.holds(10)
    return machine


def test_one_that_does_not_run_is_found_by_its_configuration(stopped):
    """Its programs did not load, so it ended: it is a target still, under the same ref as when it runs."""
    file = f"{stopped.root}/two/agent.yaml"
    target = stopped.finder().find(f"lab:{file}")
    assert (target.ref, target.processes, target.config_file) == (f"lab:{file}", (), file)
    assert target.metrics_url == "http://127.0.0.1:9435/metrics"
    assert target.start.argv == (sys.executable, "-m", "agent", file)
    assert target.start.settle_s == 3


def test_one_that_runs_goes_before_those_that_do_not(stopped):
    """Naming the profile alone means the running one; and it is not listed twice."""
    finder = stopped.finder()
    assert finder.find("lab").pid == 10
    assert finder.find().pid == 10
    assert [one.config_file for one in finder.stopped(finder.find_all())] == [
        f"{stopped.root}/two/agent.yaml"
    ]


def test_without_a_way_to_start_it_nothing_is_found(lab):
    """A configuration file alone is no agent."""
    (lab.root / "proc" / "10" / "comm").write_text("other\n")
    lab.maps, lab.programs, lab.links = [], [], []
    with pytest.raises(TargetNotFound):
        lab.finder().find(f"lab:{lab.root}/agent.yaml")


# ── configurations that we may not read ─────────────────────────────────────────


def test_an_agent_whose_directory_is_closed_to_us_does_not_hide_the_others(lab, monkeypatch):
    """Its own text is unknown, with a note; every agent is still found."""
    closed = f"{lab.root}/agent.yaml"
    for name in ("is_dir", "exists"):
        real = getattr(Path, name)

        def refuse(self, *args, real=real):
            if str(self) == closed:
                raise PermissionError(13, "Permission denied", closed)
            return real(self, *args)

        monkeypatch.setattr(Path, name, refuse)
    finder = lab.finder()
    assert [one.pid for one in finder.find_all()]
    assert f"{closed} can't be read: Permission denied" in finder.notes[-1]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_as_nobody_a_closed_directory_leaves_its_options_unknown():
    """A directory of mode 0700 that is another user's, read as that user may."""
    closed = Path(tempfile.mkdtemp())
    (closed / "agent.yaml").write_text("a: 1\n")
    asked = (
        "import os, sys\n"
        "from engine.agents import making, placeholders\n"
        "from engine.agents.processes import ProcessTable\n"
        "os.setgroups([]); os.setuid(65534)\n"
        "fill = placeholders.Placeholders(ProcessTable(), 1, sys.argv[1])\n"
        "print(repr(fill.fill('{config.a}')), making.unreadable(sys.argv[1]))\n"
    )
    file = str(closed / "agent.yaml")
    try:
        done = subprocess.run(
            [sys.executable, "-c", asked, file], capture_output=True, text=True, check=False
        )
    finally:
        shutil.rmtree(closed)
    assert done.stdout.startswith("''"), done.stderr
    assert f"{file} can't be read: Permission denied" in done.stdout
