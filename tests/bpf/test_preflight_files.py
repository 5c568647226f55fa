"""What may be given by mistake: each wrong file is told by what is wrong with it, and exit code 2 follows."""

from __future__ import annotations

import gzip
import lzma
import re
import struct

import pytest

from bpf.preflight import kernel_config, kernel_image, kernels
from bpf.preflight.bpf_object import BpfFile, read_all
from bpf.preflight.btf import STRUCT, Btf
from bpf.preflight.problems import BadFile
from engine.errors import UsageError
from tests.preflight import building

OBJECT = "guarded_field"


def test_an_object_is_read_as_its_loader_sees_it():
    """Programs, where they go, maps, what they ask of the kernel, and lines of the source."""
    seen = building.object_of("task_storage")
    (program,) = seen.programs
    assert (program.name, program.section, program.optional) == ("task_storage", "tp_btf/sched_switch", False)
    assert [(one.name, one.type, one.entries) for one in seen.maps] == [("storage", 29, 0)]
    assert seen.license == "GPL"
    asked = building.object_of("old_field")
    ((at, request),) = asked.requests["tp_btf/sched_switch"].items()
    assert re.fullmatch(r"\d+\.c:\d+", asked.place("tp_btf/sched_switch", at))
    assert request.access == "0:0"


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "is not an ELF file"),
        (b"not an object at all", "is not an ELF file"),
        (b"\x7fELF\x02\x01\x01", "is cut off within its ELF header"),
        (b"\x7fELF\x01\x01\x01" + bytes(60), "is a 32-bit ELF file"),
        (b"\x7fELF\x02\x02\x01" + bytes(60), "is a big-endian ELF file"),
        (b"\x7fELF\x02\x01\x01" + bytes(60), "is an ELF file of another machine"),
    ],
)
def test_what_is_no_object_is_told_by_what_it_is(data, problem, tmp_path):
    """'invalid argument' would leave one guessing."""
    path = tmp_path / "x.bpf.o"
    path.write_bytes(data)
    with pytest.raises(BadFile, match=problem) as raised:
        read_all(path)
    assert raised.value.exit_code == 2
    assert raised.value.fix


def test_a_big_endian_object_is_told_as_such():
    """Cross-built for another machine."""
    big = building.compiled("int x;", "bpfeb")
    with pytest.raises(BadFile, match="big-endian"):
        BpfFile(big, "x.bpf.o")


def test_an_object_that_is_cut_off_anywhere_is_told(tmp_path):
    """A copy over a broken link: every length is an error, none a crash."""
    whole = building.small(OBJECT)
    for length in range(0, len(whole) - 1, 97):
        with pytest.raises(BadFile):
            BpfFile(whole[:length], "x.bpf.o")


def test_an_object_without_types_is_read_all_the_same():
    """Older agents are not built for CO-RE: nothing is relocated, and that is said."""
    plain = building.compiled('__attribute__((section("kprobe/x"), used)) int x(void *c) { return 0; }')
    stripped = plain.replace(b".BTF\0", b".XTF\0").replace(b".BTF.ext\0", b".XTF.ext\0")
    seen = BpfFile(stripped, "x.bpf.o")
    assert seen.btf is None
    assert [one.name for one in seen.programs] == ["x"]


def test_objects_inside_an_executable_are_found(tmp_path):
    """Agents in C, Go and Rust carry their objects within; so the agent itself can be given."""
    one, other = building.small(OBJECT), building.small("new_helper")
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 2, 62, 1, 0, 0, 0, 0, 64, 0, 0, 0, 0, 0)
    agent = tmp_path / "agent"
    agent.write_bytes(header + b"text" * 11 + one + b"\x7fELF\x02\x01\x01 no object" + other + b"end")
    found = read_all(agent)
    assert [program.name for seen in found for program in seen.programs] == ["guarded_field", "new_helper"]
    assert [seen.path for seen in found] == [
        f"{agent}:{len(header) + 44}",
        f"{agent}:{found[1].path.split(':')[-1]}",
    ]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"short", "too short to be BTF"),
        (b"text that is no BTF, and long enough to look", "is not BTF"),
        (b"\xeb\x9f\x01\x00" + bytes(40), "big-endian"),
    ],
)
def test_what_is_no_btf_is_told(data, problem, tmp_path):
    """The second most likely mistake: another file of /sys/kernel."""
    path = tmp_path / "btf"
    path.write_bytes(data)
    with pytest.raises(BadFile, match=problem):
        kernels.of_files([path])


def test_the_types_of_an_object_are_not_a_kernels(tmp_path):
    """Given by mistake they would make everything fail."""
    path = tmp_path / "btf"
    path.write_bytes(building.btf_bytes("struct my_event { int a; } keep;"))
    with pytest.raises(BadFile, match="not a kernel's"):
        kernels.of_files([path])


def test_a_file_that_cannot_be_read_is_told(tmp_path):
    """Not there, or a directory."""
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(BadFile, match="can't be read"):
            kernels.of_files([path])
        with pytest.raises(BadFile, match="can't be read"):
            read_all(path)
        with pytest.raises(BadFile, match="can't be read"):
            kernel_config.read(path)


def test_types_of_a_module_build_upon_the_kernels(tmp_path):
    """``--btf KERNEL --btf MODULE``: ids and strings of the module go on where the kernel's end."""
    base = Btf(building.btf_bytes(building.NEW), "base")
    text = b"\0in_module\0"
    types = struct.pack("<III", base.strings_size + 1, 4 << 24, 8)  # struct in_module, 8 bytes, no members
    module = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(text)) + types + text
    split = Btf(module, "module", base)
    found = split.first("in_module", (STRUCT,))
    assert (found, split.size(found), split.name(found)) == (base.count, 8, "in_module")
    assert split.first("task_struct", (STRUCT,)) == base.first("task_struct", (STRUCT,))


# ── configurations and images ───────────────────────────────────────────────────


def test_a_configuration_is_read_plain_and_packed(tmp_path):
    """/boot/config-X is text, /proc/config.gz is not; what is not set is n."""
    text = b'CONFIG_BPF=y\nCONFIG_HZ=250\nCONFIG_LSM="yama,bpf"\n# CONFIG_BPF_LSM is not set\n'
    text += b"CONFIG_NET_CLS_BPF=m\n"
    for name, data in (("plain", text), ("packed", gzip.compress(text))):
        (tmp_path / name).write_bytes(data)
        config = kernel_config.read(tmp_path / name)
        assert [config.value(f"CONFIG_{one}") for one in ("HZ", "LSM", "BPF_LSM")] == ["250", "yama,bpf", "n"]
        assert config.on("CONFIG_NET_CLS_BPF")


@pytest.mark.parametrize("data", [b"not a configuration", b"\x1f\x8b broken", b"\0\1\2\3"])
def test_what_is_no_configuration_is_told(data, tmp_path):
    """Else every option would be off, and everything fail."""
    (tmp_path / "config").write_bytes(data)
    with pytest.raises(BadFile):
        kernel_config.read(tmp_path / "config")


def test_only_options_that_matter_to_bpf_are_compared():
    """Ten thousand options differ between two kernels; an operator wants the twenty."""
    before = kernel_config.Config({"CONFIG_BPF_LSM": "y", "CONFIG_SOUND": "m"}, "a")
    after = kernel_config.Config({"CONFIG_SOUND": "y"}, "b")
    (found,) = kernel_config.differences(before, after)
    assert (found.option, found.before, found.after) == ("CONFIG_BPF_LSM", "y", "n")


def boot_image(packed: bytes, release: str = "6.12.7-test") -> bytes:
    """A bzImage: boot header, release, packed kernel."""
    head = bytearray(0x400)
    head[0x1F1] = 1
    head[0x202:0x206] = b"HdrS"
    head[0x20E:0x210] = struct.pack("<H", 0x100)
    head[0x300 : 0x300 + len(release) + 1] = release.encode() + b" "
    head[0x248:0x250] = struct.pack("<II", 0, len(packed))
    return bytes(head) + packed


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress], ids=["gzip", "xz"])
def test_a_kernel_image_answers_for_its_types_and_release(pack, tmp_path):
    """/boot/vmlinuz-NEW is all that is needed before the reboot; its configuration lies beside it."""
    inside = b"\x7fELF rest" + b"code" * 100 + building.btf_bytes(building.NEW) + b"more"
    (tmp_path / "vmlinuz-6.12.7-test").write_bytes(boot_image(pack(inside)))
    (tmp_path / "config-6.12.7-test").write_text("CONFIG_BPF=y\nCONFIG_HZ=250\n")
    kernel = kernels.of_files([tmp_path / "vmlinuz-6.12.7-test"])
    assert (kernel.release, kernel.version) == ("6.12.7-test", (6, 12))
    assert kernel.btf is not None
    assert kernel.btf.first("slab", (STRUCT,))
    assert kernel.config is not None
    assert kernel.config.value("CONFIG_HZ") == "250"


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (boot_image(b"")[:0x220], "cut off within the kernel's boot header"),
        (boot_image(gzip.compress(b"x" * 5000))[:-20], "cut off within the packed kernel"),
        (boot_image(b"\xfd7zXZ\0 damaged all along"), "holds a damaged kernel"),
        (boot_image(b"????" * 9), "packed in an unknown way"),
        (boot_image(gzip.compress(b"a kernel without types")), "holds no BTF"),
    ],
)
def test_an_image_that_cannot_be_used_is_told(data, problem, tmp_path):
    """Half-written images stand in /boot when the disk was full."""
    (tmp_path / "vmlinuz").write_bytes(data)
    with pytest.raises(BadFile, match=problem):
        kernels.of_files([tmp_path / "vmlinuz"])


def test_a_release_is_found_in_boot_or_is_a_version(tmp_path):
    """What the next boot starts stands in /boot; anything else must at least be a version."""
    (tmp_path / "boot").mkdir()
    for release in ("6.9.1", "6.12.7", "6.2.0"):
        image = boot_image(gzip.compress(building.btf_bytes(building.NEW)), release)
        (tmp_path / f"boot/vmlinuz-{release}").write_bytes(image)
    assert kernels.newest_installed(tmp_path) == "6.12.7"
    assert kernels.of_release("6.12.7", tmp_path).btf is not None
    assert kernels.of_release("5.10", tmp_path).btf is None
    with pytest.raises(UsageError, match="no kernel version"):
        kernels.of_release("tomorrow", tmp_path)
    assert kernel_image.release(b"no image") == ""


def test_a_kernel_without_types_is_told_with_the_way_out(tmp_path):
    """CO-RE can't work there; the version alone still says something."""
    with pytest.raises(UsageError, match="no BTF") as raised:
        kernels.running(tmp_path)
    assert "--kernel" in raised.value.fix


def test_the_map_of_symbols_that_distributions_ship_is_empty_and_told(tmp_path):
    """Debian's System.map says where the real one is; taken for real, every kprobe would fail."""
    (tmp_path / "System.map").write_text("ffffffffffffffff B The real System.map is in the dbg package\n")
    with pytest.raises(BadFile, match="lists no symbols"):
        kernels.read_symbols(tmp_path / "System.map")
    rows = "".join(f"ffffffff81{number:06x} T function_{number}\n" for number in range(2000))
    (tmp_path / "System.map").write_text(rows)
    assert "function_7" in kernels.read_symbols(tmp_path / "System.map")
