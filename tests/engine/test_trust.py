"""Whose files root obeys."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import trust
from engine.agents import profiles
from engine.guarding import policy
from engine.language import loader
from engine.server import settings

NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="whose files root obeys shows as root only")

RUNBOOK = "runbook: mine\nsteps:\n  - tell: hello\n"


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUDO_UID", raising=False)
    monkeypatch.delenv("RUNBOOK_ONLY_ROOT", raising=False)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    place = tmp_path / "mine.yaml"
    place.write_text(RUNBOOK)
    place.chmod(0o644)
    return place


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A directory that other users can get to; pytest's own is closed to them."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def refusal(path: Path) -> str:
    with pytest.raises(trust.NotTrusted) as caught:
        trust.read(path)
    return str(caught.value)


def as_nobody(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python as another user, without our environment."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )


@needs_root
def test_a_file_of_roots_own_is_obeyed(file: Path) -> None:
    """It stands in a directory that nobody else can write, below a sticky one."""
    assert trust.read(file) == RUNBOOK.encode()
    assert loader.load(file).document.runbook == "mine"


@needs_root
@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666])
def test_a_file_that_others_can_write_is_refused(file: Path, mode: int) -> None:
    """By the group or by everybody; the fix is a command."""
    file.chmod(mode)
    assert "can be written by others" in refusal(file)
    assert f"chmod go-w {file}" in refusal(file)


@needs_root
def test_a_file_of_another_user_is_refused(file: Path) -> None:
    """Whatever its mode: its owner can change that."""
    os.chown(file, NOBODY, -1)
    assert f"{file} belongs to user {NOBODY}" in refusal(file)
    assert f"chown root {file}" in refusal(file)


@needs_root
def test_a_directory_of_another_user_on_the_way_is_refused(tmp_path: Path) -> None:
    """Its owner can put another file there."""
    above = tmp_path / "above"
    (above / "below").mkdir(parents=True)
    (above / "below" / "a.yaml").write_text(RUNBOOK)
    os.chown(above, NOBODY, -1)
    assert f"{above} belongs to user" in refusal(above / "below" / "a.yaml")


@needs_root
def test_a_directory_that_others_can_write_is_refused_unless_it_is_sticky(file: Path) -> None:
    """In a sticky one, nobody can put another file in place of root's."""
    file.parent.chmod(0o777)
    assert "can be written by others" in refusal(file)
    file.parent.chmod(0o1777)
    assert trust.read(file) == RUNBOOK.encode()


@needs_root
def test_what_another_user_really_made_in_a_sticky_directory_is_refused(open_place: Path) -> None:
    """A file, a link to root's file, and a directory with a link to root's file in it."""
    shared, mine = open_place / "shared", open_place / "mine.yaml"
    shared.mkdir()
    shared.chmod(0o1777)
    mine.write_text(RUNBOOK)
    made = as_nobody(
        "import os, sys; os.chdir(sys.argv[1]); os.symlink(sys.argv[2], 'link.yaml'); os.mkdir('d');"
        "os.symlink(sys.argv[2], 'd/link.yaml'); open('file.yaml', 'w').write('runbook: x')",
        str(shared),
        str(mine),
    )
    assert made.returncode == 0, made.stderr
    for name in ("file.yaml", "link.yaml", "d/link.yaml"):
        assert f"belongs to user {NOBODY}" in refusal(shared / name)


@needs_root
def test_a_link_of_roots_own_is_followed_and_its_end_checked(file: Path, tmp_path: Path) -> None:
    """Relative and absolute, through a directory that is a link too."""
    (tmp_path / "to").symlink_to(".")
    link = tmp_path / "to" / "link.yaml"
    link.symlink_to("../" + tmp_path.name + "/mine.yaml")
    assert trust.read(link) == RUNBOOK.encode()
    file.chmod(0o666)
    assert "can be written by others" in refusal(link)


@needs_root
def test_links_in_a_ring_end(tmp_path: Path) -> None:
    """As the kernel says it."""
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="symbolic links"):
        trust.read(tmp_path / "a")


@needs_root
def test_a_file_put_in_place_after_the_look_is_not_read(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read is what was checked, held open from the check on."""
    look = trust._Step.trouble

    def swap(step: trust._Step, owners: frozenset[int]) -> tuple[str, str]:
        if step.path == str(file):
            file.unlink()
            file.write_text("runbook: another")
        return look(step, owners)

    monkeypatch.setattr(trust._Step, "trouble", swap)
    assert trust.read(file) == RUNBOOK.encode()


@needs_root
def test_under_sudo_its_caller_counts_as_root_but_not_for_the_worker(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker answers strangers: only what root itself put there counts."""
    os.chown(file, NOBODY, -1)
    monkeypatch.setenv("SUDO_UID", str(NOBODY))
    assert trust.read(file) == RUNBOOK.encode()
    monkeypatch.setenv("RUNBOOK_ONLY_ROOT", "0")
    trust.only_root()
    assert "belongs to user" in refusal(file)


@needs_root
def test_who_is_not_root_reads_what_it_can(tmp_path: Path) -> None:
    """Its own powers are the limit."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from engine import trust; from pathlib import Path;"
        "print(trust.read(Path('/etc/hostname')) is not None, trust.applies())"
    )
    told = as_nobody(code, str(Path(trust.__file__).parents[1]))
    if "Permission" in told.stderr or "ModuleNotFound" in told.stderr:
        pytest.skip("another user can't read the program here")
    assert told.stdout.split() == ["True", "False"]


@needs_root
def test_every_kind_of_document_is_checked(file: Path) -> None:
    """Runbook, called runbook, profile, policy and settings; looking at one is free."""
    file.chmod(0o666)
    for read in (
        lambda: loader.load(file),
        lambda: loader.called("mine", file.parent),
        lambda: profiles.load(file),
        lambda: policy.load(file),
        lambda: settings.load(file),
    ):
        with pytest.raises(trust.NotTrusted):
            read()
    assert loader.load(file, only_looks=True).document.runbook == "mine"


@needs_root
def test_a_search_place_that_is_not_roots_is_passed_over_and_told_of(
    file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Another runbook of the name counts; where there is none, the reason is the error."""
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "mine.yaml").write_text(RUNBOOK)
    (theirs / "other.yaml").write_text(RUNBOOK)
    os.chown(theirs, NOBODY, -1)
    environment = {"RUNBOOK_PATH": f"{theirs}:{file.parent}"}
    assert loader.find("mine", environment=environment, here=tmp_path / "none") == file
    assert f"{theirs} belongs to user {NOBODY}; {file} counts instead" in caplog.text
    with pytest.raises(trust.NotTrusted, match="belongs to user"):
        loader.find("other", environment=environment, here=tmp_path / "none")


@needs_root
def test_a_profile_of_others_is_left_out_and_told_of(tmp_path: Path) -> None:
    """The shipped one of its name counts."""
    theirs = tmp_path / "agents"
    theirs.mkdir()
    (theirs / "falco.yaml").write_text("profile: falco\nmatch: {comm: evil}\n")
    os.chown(theirs / "falco.yaml", NOBODY, -1)
    found = profiles.find_all(environment={"RUNBOOK_PROFILES": str(theirs), "HOME": str(tmp_path)})
    assert found.files["falco"].is_relative_to(loader.shipped())
    assert any("is not obeyed as root" in line and "counts instead" in line for line in found.complaints)
