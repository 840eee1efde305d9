"""Instances of the archive to one destination, over another association when one dies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from dicomrelay.delivery import Answer, Instance, Target, deliver
from dicomrelay.dicom.status import Outcome
from dicomrelay.errors import AssociationError, AssociationTimeout
from dicomrelay.net.outcomes import judge

# So many associations in a row that died without one answer: it is the peer or the line.
_DEATHS_IN_A_ROW: Final = 2


def send_all(
    instances: Sequence[Instance],
    target: Target,
    *,
    locate: Callable[[Instance], Path],
    answered: Callable[[Answer], None],
    keep_going: Callable[[], bool],
    pace: Callable[[int], None] | None,
) -> None:
    """Send what is given, until of all is known what became of it or there is to be no more.

    Parameters
    ----------
    answered : callable
        Told of each instance once. What was under way when an association died has failed: the peer may have it, and may not.

    Raises
    ------
    AssociationError
        Nobody is there, answers in time, or stays: of what was not told by now nothing was sent.
    ConfigurationError
        A certificate, key or token cannot be used.
    """
    left = {instance.key: instance for instance in instances}
    deaths = 0

    def tell(answer: Answer) -> None:
        nonlocal deaths
        deaths = 0
        left.pop(answer.key, None)
        answered(answer)

    while left and keep_going():
        under_way: list[Instance] = []
        try:
            deliver(
                [*left.values()],
                target,
                locate=locate,
                answered=tell,
                keep_going=keep_going,
                unanswered=lambda lost, *_: under_way.extend(lost),  # noqa: B023 - called before the loop goes on
                pace=pace,
            )
        except AssociationError as error:
            deaths += 1
            for instance in under_way:
                left.pop(instance.key, None)
                words = f"the association ended while it was under way: {judge(error).name}"
                answered(Answer(instance.key, Outcome.RETRY, words=words))
            if not under_way or deaths >= _DEATHS_IN_A_ROW or isinstance(error, AssociationTimeout):
                raise
        else:
            return
