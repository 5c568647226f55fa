"""Agent profiles: found, overridden, and checked before anybody relies on them."""

import re

import msgspec
import pytest

from engine.agents import profile_check, profiles
from engine.agents.knob_spec import KnobSpec, ReloadSpec
from engine.agents.profile import Config, Events, KeySpec, MapSpec, Match, Needs, Profile, ValueSpec
from engine.catalog import installed
from engine.errors import DocumentError
from engine.language.loader import shipped
from engine.values import Counter

SOUND = """\
profile: mine
match: {comm: mine}
metrics: "http://127.0.0.1:{config.port|9000}/metrics"
"""


def complaints(tmp_path, text):
    """What the check says of a profile."""
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    try:
        return profile_check.check(path, installed())
    except DocumentError as error:
        return list(error.complaints)


def found_with(tmp_path, **files):
    """All profiles, the operator's among them."""
    for name, text in files.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    return profiles.find_all(environment={"RUNBOOK_PROFILES": str(tmp_path), "HOME": "/nowhere"})


def test_an_operators_profile_overrides_the_shipped_one(tmp_path):
    """By its name, whatever its file is called: a shipped profile can be corrected without touching it."""
    found = found_with(tmp_path, corrected="profile: lab\nmatch: {comm: mine}\n")
    (lab,) = [one for one in found.profiles if one.profile == "lab"]
    assert lab.match.comm == ("mine",)
    assert found.profiles[0] is lab, "his own are asked first"
    assert found.files["lab"] == tmp_path / "corrected.yaml"
    assert [path.name for path in found.overridden["lab"]] == ["lab.yaml"]


@pytest.mark.parametrize("text", ["profile: lab\nmatch: {com: mine}\n", "profile: [\n"])
def test_a_broken_one_overrides_nothing_and_says_so(tmp_path, text):
    """Else a slip of the pen would turn a known agent into an unknown one without a word."""
    found = found_with(tmp_path, lab=text)
    assert found.files["lab"] == shipped() / "agents" / "lab.yaml"
    assert f"{shipped()}/agents/lab.yaml counts instead" in found.complaints[0]


def test_two_of_one_name_in_one_folder_are_told(tmp_path):
    """Which of them counts must not hang on the alphabet alone."""
    text = "profile: lab\nmatch: {comm: NAME}\n"
    found = found_with(tmp_path, a=text.replace("NAME", "a"), b=text.replace("NAME", "b"))
    assert found.files["lab"].name == "a.yaml"
    assert "b.yaml: a.yaml beside it is profile 'lab' already" in found.complaints[0]


@pytest.mark.parametrize("path", sorted((shipped() / "agents").glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_profiles_pass_the_check(path):
    """Each loads, bears the name of its file, and has no mistake."""
    assert profiles.load(path).profile == path.stem
    assert [one for one in profile_check.check(path, installed()) if " warning: " not in one] == []


def workers(text):
    """A profile with one knob."""
    return f"{SOUND}knobs:\n  workers: {{{text}}}\n"


def ring(text):
    """A profile with a knob that is a size."""
    return f"{SOUND}knobs:\n  ring-buffer-size: {{backend: cgroup, {text}}}\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (workers("backend: yaml-fil, path: a"),  "settings 'yaml-fil' (did you mean 'yaml-file'?)"),
        (workers("backend: cgroup").replace("workers", "worker"), "5:11: warning: no remediation turns"),
        (workers("backend: cgroup, default: 9, maximum: 8"), "9 is outside the bounds, None to 8"),
        (workers("backend: cgroup, minimum: 9, maximum: 8"), "9 is more than the maximum, 8"),
        (ring("unit: bytes, presets: {1: 1MiB}"), "presets go with unit preset"),
        (ring("unit: preset"), "'presets' is missing"),
        (ring("unit: preset, presets: {1: 1MiB}, default: 2"), "none of the presets 1"),
        (ring("unit: s"), "s is no unit of ring-buffer-size"),
        (ring("unit: bytes, default: lots"), "'lots' can't be read in bytes"),
        (ring("unit: bytes, maximum: 10s"), "'10s' is a duration"),
        (ring("unit: bytes, base: 4KiB"), "a base goes with unit doublings"),
        (workers("backend: cgroup, rounding: page"), "count has no pages"),
        (workers("backend: cgroup, cpus_each: 2"), "it goes with 'per: cpu'"),
        (workers("backend: option-directory"), "'path' is missing"),
        (workers("backend: yaml-file, path: a, file: '{confg.x}'"), "no placeholder 'confg' (did you mean"),
        (workers("backend: cgroup, reload: {by: systemd}"), "'unit' is missing"),
        (SOUND + "reload: {by: signal, signal: SIGHUPP}\n", "did you mean 'SIGHUP'?"),
        (SOUND + "needs: {capabilities: [CAP_BFP]}\n", "did you mean 'CAP_BPF'"),
        (SOUND + "needs: {kernel: five}\n", "'five' is no version"),
        (SOUND + "health: 'http://{argument}/'\n", "{argument} says not which"),
        (SOUND + "drop_visibility: full\n", "full, and no counter of dropped events says where"),
        (SOUND + "events: {rings: [ring_of_a_long_name]}\n", "warning: the kernel keeps 15 characters of it"),
        (SOUND.replace("comm: mine", "exe: mine"), "never fits: it is compared with the whole path"),
    ],
)  # fmt: skip
def test_every_slip_is_told_with_its_line(tmp_path, text, says):
    """The profile is all that a stranger writes; what it gets wrong shows nowhere else before an incident."""
    found = complaints(tmp_path, text)
    assert any(says in one for one in found), found
    assert all(one.startswith(f"{tmp_path}/mine.yaml:") for one in found)


@pytest.mark.parametrize(
    ("counter", "says"),
    [
        ("{counts: dropped, source: log, name: '(a)(b)'}", "2 groups: one is the number"),
        ("{counts: dropped, source: log, name: 'lost', cumulative: true}", "a total needs a group"),
        ("{counts: dropped, source: log, name: 'lost'}", "warning: no group for the number"),
        ("{counts: dropped, source: log, name: '('}", "is no regular expression"),
        ("{counts: dropped, source: bpf-map, name: a_very_long_map_name}", "keeps 15 characters"),
        ("{counts: dropped, source: bpf-map, name: a, labels: {key: x}}", "of a bpf-map they are numbers"),
        ("{counts: dropped, source: bpf-variable, name: a, labels: {key: x}}", "has no labels"),
        ("{counts: dropped, source: bpf-map, name: a, stage: exporter}", "does not see the agent's exporter"),
        ("{counts: received, source: metric, name: a, stage: queue}", "received is what comes in"),
        ("{counts: refused, source: metric, name: a}", "belongs to that map"),
    ],
)  # fmt: skip
def test_counters_that_can_not_count_are_told(tmp_path, counter, says):
    """A counter that never matches reads as 'nothing lost' to whoever trusts it."""
    found = complaints(tmp_path, f"{SOUND}drop_visibility: partial\ncounters:\n  - {counter}\n")
    assert any(says in one for one in found), found


def test_what_nobody_tried_says_where_it_was_read(tmp_path):
    """A profile from sources is as good as what it can be held against."""
    text = workers("backend: cgroup") + "verified: sources\n"
    (said,) = complaints(tmp_path, text)
    assert "warning: where was it read?" in said
    assert complaints(tmp_path, text + "sources: the agent's docs\n") == []


def test_every_key_is_in_the_reference():
    """A stranger has nothing but the docs."""
    text = (shipped().parent / "docs" / "profiles.md").read_text()
    parts = (
        Profile,
        Match,
        Config,
        Events,
        Needs,
        MapSpec,
        KeySpec,
        ValueSpec,
        KnobSpec,
        ReloadSpec,
        Counter,
    )
    keys = {info.encode_name for part in parts for info in msgspec.structs.fields(part)}
    assert {key for key in keys if not re.search(rf"[`{{ ]{key}[`:]", text)} == set()
    backends = {"run-state", "stale-entries", "bpf-link", "file-capability", "systemd-dropin", "mount"}
    own = set(installed().names("knob backend")) - backends - {"systemd-memory"}  # remediations' own
    assert {name for name in own if f"`{name}`" not in text} == set()
