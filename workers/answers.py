"""What peers answered, as it came: kept beside the spool until the ledger has it (docs/design/workers.md).

The ledger is told in batches. What a process knew and had not said yet when it was killed stands here, and who takes up its
transfer says it first, so that nothing is sent twice which was answered. A line is written and not flushed: it outlives the
process, which is what it is for; a power cut may take it, and then an instance is sent once more.
"""

from __future__ import annotations

import json
import os
import time
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from dicomrelay.errors import RelayError
from dicomrelay.ledger.values import ClaimedTransfer, DeliveryOutcome, DeliveryState
from dicomrelay.ledger.values_evidence import SentFacts
from dicomrelay.log import get_logger
from dicomrelay.runtime import home
from workers.rooms import Rooms

_log = get_logger("dicomrelay.answers")
_KEPT_S: Final = 86_400.0
_MOST_BYTES: Final = 64 << 20


class AnswerJournal:
    """The answers of one claim of a transfer. One thread writes it.

    Parameters
    ----------
    folder : Path
        Made when the first answer comes.
    """

    def __init__(self, folder: Path, claimed: ClaimedTransfer) -> None:
        self._path = _path(folder, claimed.id, claimed.fence)
        self._fd = -1
        self._is_over = False

    def note(self, outcome: DeliveryOutcome) -> None:
        """One that was delivered. A disk that takes no more costs what this saves, and no more: nobody hears of it."""
        if self._is_over or not outcome.state.is_delivered:
            return
        try:
            if self._fd < 0:
                self._path.parent.mkdir(mode=0o700, exist_ok=True)
                self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            os.write(self._fd, _line(outcome))
        except OSError:
            self._is_over = True

    def end(self, *, keep: bool = False) -> None:
        """No more comes. The ledger has them all, unless the next claim is to tell it."""
        self._is_over = True
        if self._fd < 0:
            return
        os.close(self._fd)
        self._fd = -1
        if not keep:
            with suppress(OSError):
                self._path.unlink()


def left_by_the_last(folder: Path, claimed: ClaimedTransfer) -> list[DeliveryOutcome]:
    """What the claim right before this one was answered and did not say: of instances that the transfer still has to send.

    Of an older claim nothing counts any more: the ledger has moved on since.
    """
    wanted = {each.instance.instance_id for each in claimed.deliveries}
    found = {each.instance_id: each for each in _read(_path(folder, claimed.id, claimed.fence - 1))}
    return [outcome for instance_id, outcome in sorted(found.items()) if instance_id in wanted]


def take_up(rooms: Rooms, claimed: ClaimedTransfer) -> ClaimedTransfer:
    """Tell the ledger what the runner before us was answered and had not told; the transfer without those instances."""
    folder = home.answers_folder(rooms.settings)
    found = left_by_the_last(folder, claimed)
    if found:
        try:
            rooms.ledger.record_outcomes(claimed.id, claimed.fence, found)
        except RelayError as error:  # then they are sent once more, which is allowed
            _log.warning("answers of a dead runner are lost", transfer_id=claimed.id, reason=str(error))
            return claimed
        _log.info("answers of a dead runner", transfer_id=claimed.id, instances=len(found))
    with suppress(OSError):
        _path(folder, claimed.id, claimed.fence - 1).unlink()
    known = {each.instance_id for each in found}
    left = tuple(each for each in claimed.deliveries if each.instance.instance_id not in known)
    return replace(claimed, deliveries=left)


def sweep(folder: Path, *, now_s: float | None = None) -> int:
    """Remove what nobody came back for in a day; how many files that was."""
    removed = 0
    now_s = time.time() if now_s is None else now_s
    with suppress(OSError):
        for path in list(folder.iterdir()):
            with suppress(OSError):
                if path.stat().st_mtime < now_s - _KEPT_S:
                    path.unlink()
                    removed += 1
    return removed


def _path(folder: Path, transfer_id: str, fence: int) -> Path:
    return folder / f"{transfer_id}.{fence}"


def _line(outcome: DeliveryOutcome) -> bytes:
    fields = asdict(outcome)
    # Since then: whoever reads it says how long ago that was.
    text = json.dumps({**fields, "state": outcome.state.value, "at_s": time.time()}).encode("ascii")
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _read(path: Path) -> Iterator[DeliveryOutcome]:
    """As far as it is whole: a power cut may have taken its end."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            return
        content = path.read_bytes()
    except OSError:
        return
    for line in content.split(b"\n")[:-1]:
        checksum, _, text = line.partition(b" ")
        if checksum != b"%08x" % zlib.crc32(text):
            return
        try:
            outcome = _outcome(json.loads(text))
        except (ValueError, TypeError, KeyError):  # of another version of ours
            return
        yield outcome


def _outcome(fields: dict[str, Any]) -> DeliveryOutcome:
    ago_ms = max(0, round(1000 * (time.time() - fields.pop("at_s"))))
    sent = fields.pop("sent")
    return DeliveryOutcome(
        **{
            **fields,
            "state": DeliveryState(fields["state"]),
            "sent": None if sent is None else SentFacts(**{**sent, "ago_ms": ago_ms}),
        }
    )
