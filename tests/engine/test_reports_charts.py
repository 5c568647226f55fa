"""Charts: samples and nothing else."""

from engine import record, text
from engine.reports import charts, story
from engine.reports.axis import Axis, Pause, pauses
from engine.values import Series
from tests.samples import runs


def drawn(run):
    told = story.tell(run)
    return charts.draw(told.evidence, told.attempts, Axis(run.head.started_at, told.ended_at, pauses(run)))


def test_thinning_keeps_the_lowest_and_the_highest_sample():
    """One full spell of 1 ms in ten seconds is the whole story: it must not be averaged away."""
    values = [0.5] * 10_000
    values[7_777], values[1_234] = 1.0, 0.0
    series = Series(label="fill", times=tuple(i / 1000 for i in range(10_000)), values=tuple(values))
    thinned = charts.thin(series, Axis(0.0, 10.0))
    assert len(thinned) < 900
    assert (7.777, 1.0) in thinned
    assert (1.234, 0.0) in thinned
    assert [at for at, _ in thinned] == sorted(at for at, _ in thinned)


def test_each_applied_change_is_marked_in_every_chart():
    """The eye looks for the step at the moment of the change."""
    for chart in drawn(runs.burst_run()):
        assert chart.svg.count("<circle") == 2
        assert '<text x="' in chart.svg


def test_windows_are_drawn_apart_so_that_time_nobody_watched_stays_empty():
    """A line through a gap would claim a measurement."""
    fill = drawn(runs.burst_run())[0]
    assert fill.title == "Fill of the ring buffer"
    assert fill.svg.count('class="series fill line"') == fill.svg.count('class="series fill area"')
    assert fill.svg.count('class="line reactive') == 6 * 2 + 2  # six windows, line and area, two marks


def test_a_chart_brings_no_script_no_style_and_no_address():
    """The report's own style sheet colours it, and it must work without a network."""
    for chart in drawn(runs.burst_run()):
        rest = chart.svg.replace('xmlns="http://www.w3.org/2000/svg"', "")
        assert not any(word in rest for word in ("<script", "<style", "http", "<!--"))


def test_a_series_no_frame_knows_gets_a_chart_of_its_own():
    """A stranger's probe is drawn too."""
    assert [chart.title for chart in drawn(runs.hostile_run())] == [text.plain(runs.EVIL)]


def test_the_caption_is_the_reading_that_the_cause_and_the_goal_tell_too():
    """The mean of what was drawn is another figure for the same thing, and people ask which is right."""
    run = runs.burst_run()
    first = next(e.evidence for e in run.events if isinstance(e, record.Seen))
    lost = next(chart for chart in drawn(run) if chart.title == "Events lost")
    assert lost.first == text.measure(first.readings["dropped_per_s"].value, "events/s")
    assert lost.last == "0/s"


def test_ticks_are_round_and_few():
    """An axis of an hour is not labelled every ten seconds."""
    assert charts.ticks(66.4) == [0, 10, 20, 30, 40, 50, 60]
    assert len(charts.ticks(3700)) <= 8


def test_time_in_which_the_run_waited_is_left_out_and_told():
    """An hour's wait for a yes would leave two slivers; the clock along the axis stays true."""
    axis = Axis(1000.0, 1000.0 + 20 + 3600 + 40, (Pause(1020.0, 3600.0),))
    assert axis.length == 60
    assert [axis.along(at) for at in (1010.0, 1020.0, 2000.0, 4620.0, 4630.0)] == [10, 20, 20, 20, 30]
    assert [axis.told(along) for along in (10, 20, 30)] == [10, 20, 3630]


def test_a_pause_is_what_lies_before_a_run_was_taken_up_again():
    """From what it did last, not from the answer; a moment's pause is drawn as it was."""
    head = runs.head(started_at=90.0)
    ended = record.Ended(at=100.0, outcome="waiting", sentence="")
    short = record.Resumed(at=101.0, by="", doing="resume")
    ruled = record.Ruled(at=499.0, digest="", answer="approved")
    later = record.Resumed(at=500.0, by="", doing="resume")
    assert pauses(record.Run(head=head, events=(ended, short, ruled, later))) == (Pause(101.0, 399.0),)
