"""The reader of verifier logs: what was refused, where, and with which registers; any text is survived."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from bpf import verifier

NO_CHECK = """libbpf: prog 'count': BPF program load failed: Permission denied
libbpf: prog 'count': -- BEGIN PROG LOAD LOG --
0: R1=ctx() R10=fp0
; v = bpf_map_lookup_elem(&counts, &key); @ count.bpf.c:14
7: (85) call bpf_map_lookup_elem#1    ; R0_w=map_value_or_null(id=1,map=counts,ks=4,vs=8)
; *v += 1; @ count.bpf.c:15
8: (79) r1 = *(u64 *)(r0 +0)
R0 invalid mem access 'map_value_or_null'
processed 9 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
-- END PROG LOAD LOG --
libbpf: prog 'count': failed to load: -13
"""
OLD_KERNEL = """bpf: Failed to load program: Permission denied
0: (bf) r6 = r1
1: (79) r3 = *(u64 *)(r6 +112)
 R0=inv(id=0) R3=inv(id=0,umax_value=4096) R6=ctx(id=0,off=0,imm=0) R10=fp0
2: (71) r4 = *(u8 *)(r3 +0)
R3 invalid mem access 'inv'
"""


def test_the_failing_instruction_its_source_line_and_its_registers_are_told():
    """These three are what an author needs, and what the log buries."""
    refusal = verifier.read(NO_CHECK)

    assert refusal is not None
    assert refusal.message == "R0 invalid mem access 'map_value_or_null'"
    assert (refusal.instruction, refusal.code) == (8, "r1 = *(u64 *)(r0 +0)")
    assert refusal.source == "*v += 1; @ count.bpf.c:15"
    assert refusal.in_words() == ("R0 is a map's value, or NULL: not yet compared with NULL (8 bytes long)",)
    assert (refusal.processed, refusal.limit) == (9, 1_000_000)


def test_states_of_old_kernels_are_read_too():
    """Before 5.18 a state stands on a line of its own, and numbers are called inv."""
    refusal = verifier.read(OLD_KERNEL)

    assert refusal is not None
    assert refusal.in_words()[0] == "R3 is a number (between 0 and 4096)"


def test_registers_do_not_outlive_a_call():
    """After a call R1 to R5 hold nothing: telling their old state would mislead."""
    log = (
        "1: (bf) r1 = r6    ; R1_w=ctx() R6=ctx()\n2: (85) call bpf_ktime_get_ns#5\n"
        "3: (7b) *(u64 *)(r10 -8) = r1\nR1 !read_ok\n"
    )

    refusal = verifier.read(log)

    assert refusal is not None
    assert 1 not in refusal.registers
    assert refusal.registers[6] == "ctx()"


def test_remarks_that_every_load_makes_are_not_taken_for_the_reason():
    """The verifier begins many good loads with 'R1 type=ctx expected=fp'."""
    log = (
        "R1 type=ctx expected=fp\n0: (bf) r6 = r1\n"
        "math between map_value pointer and register with unbounded min value is not allowed\n"
        "verification time 20319 usec\nprocessed 1039 insns (limit 1000000)\n"
    )

    refusal = verifier.read(log)

    assert refusal is not None
    assert refusal.message.startswith("math between map_value pointer")


def test_the_report_of_a_new_kernel_is_not_taken_for_the_log():
    """From 7.x on sentences follow the complaint, with instructions quoted once more."""
    log = (
        "6: (85) call bpf_map_lookup_elem#1    ; R0=map_value_or_null(id=1,map=table,ks=4,vs=64)\n"
        "7: (79) r0 = *(u64 *)(r0 +0)\nR0 invalid mem access 'map_value_or_null'\n\n"
        "Verification failed: Register Type Safety: Invalid dereference\n\n"
        "Reason:\n  R0 may be NULL here (a nullable map value pointer).\n\nAt:\n  p @ a.bpf.c:29:9\n"
        "  Instruction context:\n      6 | (85) call bpf_map_lookup_elem#1\n"
        "  >>> 7 | (79) r0 = *(u64 *)(r0 +0)\n      8 | (95) exit\n\nprocessed 7 insns (limit 1000000)\n"
    )

    refusal = verifier.read(log)

    assert refusal is not None
    assert refusal.message == "R0 invalid mem access 'map_value_or_null'"
    assert refusal.instruction == 7


def test_a_text_without_a_verifier_log_gives_nothing():
    """A guess would look like a reading."""
    assert verifier.read('level=error msg="map create: operation not permitted"\n') is None


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [*NO_CHECK.splitlines(), *OLD_KERNEL.splitlines(), "", ";", "R", "R0=", "((((", "9: (", "\x00"]
        )
    )
)
def test_any_mixture_of_log_lines_is_survived(lines):
    """Logs come cut, mixed and repeated."""
    refusal = verifier.read("\n".join(lines))

    assert refusal is None or isinstance(refusal.in_words(), tuple)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=400))
def test_any_text_is_survived(text):
    """Whatever was piped in."""
    verifier.read(f"1: (bf) r1 = r2 ; R1={text}\n{text}\nprocessed 1 insns")
