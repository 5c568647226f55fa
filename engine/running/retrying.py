"""A step that failed, tried again as it says.

One promise: nothing is tried again once something was changed, or when nobody could go on with it.

Not here: what a step does (``engine.running.steps``).
"""

from __future__ import annotations

from collections.abc import Callable

from engine.errors import Interrupted, JournalUnavailable, RunbookError, TargetGone
from engine.language.model import Step
from engine.running.outcomes import End
from engine.running.scene import Scene


def retried(step: Step, scene: Scene, work: Callable[[], End | None]) -> End | None:
    """Try again on failure, as the step says, as long as nothing has been changed."""
    if step.retry is None:
        return work()
    import tenacity  # noqa: PLC0415 - 30 ms, and few steps say `retry`

    def may_again(error: BaseException) -> bool:
        fatal = isinstance(error, JournalUnavailable | Interrupted | TargetGone)
        return isinstance(error, RunbookError) and not (fatal or scene.touched or scene.tools.cancel)

    def note(state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        problem = error.problem if isinstance(error, RunbookError) else str(error)
        scene.warn(f"{step.title}: {problem}; attempt {state.attempt_number + 1} follows", step=step.id)

    again = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(step.retry.times + 1),
        wait=tenacity.wait_exponential(
            multiplier=scene.seconds(step.retry.wait), exp_base=step.retry.backoff, max=3600
        ),
        retry=tenacity.retry_if_exception(may_again),
        before_sleep=note,
        sleep=scene.tools.clock.sleep,
        reraise=True,
    )
    return again(work)
