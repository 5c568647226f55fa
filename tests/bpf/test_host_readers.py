"""The readers of a host's facts, on files as the kernel writes them."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpf.host import capabilities, kernel_config, limits, mounts, security
from bpf.host.attach_targets import AttachTargets


@pytest.fixture
def put(tmp_path: Path):
    """put(path, text): a file below a made-up root."""

    def write(path: str, text: str) -> Path:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return tmp_path

    return write


# ── capabilities ────────────────────────────────────────────────────────────────


def test_masks_are_spelled_by_name_and_unknown_bits_by_number():
    """A kernel newer than this table must not crash a probe."""
    assert capabilities.names_of(1 << 39 | 1 << 38 | 1 << 63) == ("cap_perfmon", "cap_bpf", "cap_63")
    assert capabilities.names_of(0) == ()


def test_sets_that_a_status_lacks_are_absent_not_empty():
    """Ambient capabilities came with kernel 4.3; before, nobody knows."""
    sets = capabilities.of_status("Name:\tx\nCapEff:\t000001c000200000\nCapBnd:\t000001ffffffffff\n")
    assert sets == {"effective": 0x1C000200000, "bounding": 0x1FFFFFFFFFF}


def test_file_capabilities_of_both_revisions_are_read():
    """Bytes as setcap writes them: revision 2, and 3 with a namespace's root user."""
    v2 = struct.pack("<5I", 0x02000001, 0, 0, 0xC0, 0)
    v3 = struct.pack("<6I", 0x03000000, 1 << 21, 1 << 12, 0, 0, 1000)
    assert str(capabilities.parse(v2)) == "cap_perfmon,cap_bpf=ep"
    found = capabilities.parse(v3)
    assert (found.permitted, found.inheritable, found.effective, found.root_uid) == (
        ("cap_sys_admin",),
        ("cap_net_admin",),
        False,
        1000,
    )


@given(st.binary(max_size=40))
def test_any_other_bytes_are_refused_with_a_reason(attribute: bytes):
    """The attribute may be damaged; a probe then tells so."""
    if len(attribute) in (12, 20, 24) and attribute[3] in (1, 2, 3):
        return  # it may be one
    with pytest.raises(ValueError, match="file capabilities"):
        capabilities.parse(attribute)


# ── confinement ─────────────────────────────────────────────────────────────────


def process(root: Path, *, seccomp: str = "2", user: int = 4026531837, cgroup: str = "0::/\n") -> Path:
    """A process 7 with a status, namespaces and a cgroup."""
    place = root / "proc" / "7"
    (place / "ns").mkdir(parents=True)
    (place / "status").write_text(f"Name:\tx\nUid:\t1000\t65534\t0\t0\nNoNewPrivs:\t1\nSeccomp:\t{seccomp}\n")
    (place / "ns" / "user").symlink_to(f"user:[{user}]")
    (place / "ns" / "pid").symlink_to("pid:[4026531836]")
    (place / "cgroup").write_text(cgroup)
    return root


def test_a_process_tells_user_filter_and_privileges(tmp_path):
    """The effective user counts, not the real one."""
    found = security.of_process(process(tmp_path), "7")
    assert (found.uid, found.seccomp, found.no_new_privs) == (65534, "filter", "yes")
    assert (found.user_namespace, found.container, found.label) == ("initial", "no", None)


def test_a_child_namespace_and_a_container_are_told(tmp_path):
    """Capabilities in a child user namespace do not count for BPF."""
    found = security.of_process(process(tmp_path, user=4026532999, cgroup="0::/kubepods/pod1/x\n"), "7")
    assert (found.user_namespace, found.container) == ("child", "yes")


def test_of_a_process_that_is_gone_nothing_is_known(tmp_path):
    """Unknown is never no."""
    assert security.of_process(tmp_path, "7") == security.Confinement()


def built(*options: str) -> kernel_config.KernelConfig:
    """A kernel built with these options."""
    return kernel_config.KernelConfig("/boot/config", dict.fromkeys(options, "y"))


def test_lockdown_is_none_only_where_that_is_known(put, tmp_path):
    """Without securityfs a kernel may well be locked down; some are built to be."""
    assert security.lockdown(tmp_path, built("SECURITY_LOCKDOWN_LSM")) == (None, security.NOT_MOUNTED)
    assert security.lockdown(tmp_path, kernel_config.KernelConfig())[0] is None
    assert security.lockdown(tmp_path, built("BPF")) == ("none", "")
    forced = built("SECURITY_LOCKDOWN_LSM", "LOCK_DOWN_KERNEL_FORCE_INTEGRITY")
    assert security.lockdown(tmp_path, forced) == ("integrity", "")
    root = put("sys/kernel/security/lockdown", "none integrity [confidentiality]\n")
    assert security.lockdown(root, forced) == ("confidentiality", "")


def test_security_modules_are_asked_of_the_kernel_without_securityfs(put, tmp_path):
    """6.8 and later tell by a system call; before, nobody knows."""
    assert security.modules(tmp_path) == (None, security.NOT_MOUNTED)
    assert security.modules(tmp_path, lambda: "lockdown,bpf") == ("lockdown,bpf", "")
    assert security.modules(put("sys/kernel/security/lsm", "capability,bpf"))[0] == "capability,bpf"


# ── limits and configuration ────────────────────────────────────────────────────


def test_versions_compare_as_numbers():
    """5.8 is older than 5.11, whatever the text says."""
    older, newer = limits.version_number("5.8.0-53"), limits.version_number("5.11")
    assert older is not None
    assert newer is not None
    assert older < newer == limits.MEMCG_ACCOUNTING
    assert limits.version_number("unknown") is None


def test_memory_of_compiled_programs_is_summed(put):
    """In pages of text and in packs, as kernels before and after 5.18 keep it."""
    root = put(
        "proc/vmallocinfo",
        "0x1-0x2    8192 bpf_jit_alloc_exec+0x1/0x2 pages=1\n0x3-0x4 2097152 bpf_prog_pack_alloc+0x1\n"
        "0x5-0x6 4096 acpi_os_map\n",
    )
    assert limits.jit_used(root) == (2_105_344, "")


def test_the_memlock_limit_tells_unlimited_from_unknown(put, tmp_path):
    """-1 means no limit; None that nobody could look."""
    assert limits.memlock(tmp_path, "7") is None
    root = put("proc/7/limits", "Max locked memory         unlimited            unlimited            bytes\n")
    assert limits.memlock(root, "7") == limits.UNLIMITED


def test_a_config_is_read_packed_or_plain_and_modules_count(put, tmp_path):
    """Debian keeps it in /boot, others in /proc."""
    text = "CONFIG_BPF=y\nCONFIG_NET_CLS_BPF=m\n# CONFIG_KPROBES is not set\n"
    plain = kernel_config.read(put("boot/config-6.1", text), "6.1")
    assert (plain.source, plain.answer("BPF"), plain.answer("NET_CLS_BPF")) == (
        "/boot/config-6.1",
        "yes",
        "yes",
    )
    assert plain.answer("KPROBES") == "no"
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/config.gz").write_bytes(gzip.compress(text.encode()))
    assert kernel_config.read(tmp_path, "6.1").source == "/proc/config.gz"


def test_without_or_with_a_damaged_config_every_answer_is_unknown(put, tmp_path):
    """An agent must not be told that kprobes are off because nobody could look."""
    assert kernel_config.read(tmp_path, "6.1").answer("KPROBES") is None
    assert kernel_config.read(put("proc/config.gz", "no gzip at all"), "6.1").answer("KPROBES") is None


# ── mounts ──────────────────────────────────────────────────────────────────────

MOUNTINFO = (
    "20 1 8:1 / / rw,relatime - ext4 /dev/vda rw\n"
    "30 20 0:26 / /sys/fs/bpf rw,nosuid shared:4 - bpf bpf rw,mode=700\n"
    "31 20 0:27 / /run/with\\040blank rw,nosuid,nodev - tmpfs tmpfs rw\n"
)


def test_the_mount_that_holds_a_path_is_the_deepest(put):
    """Whether capabilities of a file count hangs on its own mount."""
    seen = mounts.read(put("proc/self/mountinfo", MOUNTINFO))
    assert mounts.of_kind(seen, "bpf") == "/sys/fs/bpf"
    assert mounts.of_kind(seen, "tracefs") == ""
    found = mounts.holding(seen, "/run/with blank/agent")
    assert found is not None
    assert (found.kind, found.options) == ("tmpfs", ("rw", "nosuid", "nodev"))
    assert (mounts.holding(seen, "/usr/bin/agent") or found).kind == "ext4"


# ── attach targets ──────────────────────────────────────────────────────────────

SYMBOLS = (
    "ffff T tcp_connect\nffff t blk_account_io_done.isra.0\nffff T inlined_one\n"
    "ffff T __traceiter_sched_switch\n"
)


def test_without_tracefs_a_missing_function_is_no_and_a_present_one_for_kprobes_unknown(put):
    """A function that is there may still not be traced."""
    there = AttachTargets(put("proc/kallsyms", SYMBOLS))
    assert there.find("tcp_connect").answer == "yes"
    assert there.find("kprobe:tcp_connect").answer == "unknown"
    gone = there.find("kprobe:blk_account_io_done")
    assert gone.answer == "no"
    assert "blk_account_io_done.isra.0" in gone.why
    assert there.find("tp_btf:sched_switch").answer == "yes"
    assert there.find("tracepoint:syscalls:sys_enter_bpf").answer == "unknown"


def test_with_tracefs_every_answer_is_known(put):
    """Its lists are complete."""
    put("proc/kallsyms", SYMBOLS)
    put("sys/kernel/tracing/available_filter_functions", "tcp_connect\nother [module]\n")
    there = AttachTargets(put("sys/kernel/tracing/events/sched/sched_switch/id", "1"))
    assert there.find("kprobe:tcp_connect").answer == "yes"
    assert there.find("fentry:inlined_one").answer == "no"
    assert there.find("tracepoint:sched:sched_switch").answer == "yes"
    assert there.find("sched/sched_gone").answer == "no"
    assert there.find("tracepoint:syscalls:sys_enter_bpf").answer == "no"


def test_nothing_readable_means_unknown(tmp_path):
    """No symbols, no tracefs: no answer."""
    assert {AttachTargets(tmp_path).find(name).answer for name in ("x", "kprobe:x", "raw_tp:x", "a:b")} == {
        "unknown"
    }
