"""Our words and the peer's in one reason, and apart again."""

from __future__ import annotations

import errno
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dicomrelay.cli.summary import Outcome, Result, Session
from dicomrelay.delivery import Answer, Instance
from dicomrelay.delivery.answers import not_readable, not_transcodable
from dicomrelay.delivery.editing import EditBench
from dicomrelay.delivery.reasons import parted, reason_of
from dicomrelay.dicom import status as dimse
from dicomrelay.errors import NotEditable, NotTranscodable, SpoolCorrupt
from dicomrelay.net.outgoing_file import OutgoingFile, SendBuffer
from dicomrelay.net.requestor import StoreItem
from dicomrelay.transcode import Source
from dicomrelay.transcode.process import TooSlowError


def _answer(words: str, comment: str, status: int | None = 0xA700) -> Answer:
    return Answer("1", dimse.Outcome.REFUSED, status=status, words=words, comment=comment)


@pytest.mark.parametrize("words", ["", "out of resources", "a: b; c"])
@pytest.mark.parametrize("comment", ["", "MUELLER^HANS", 'it "says"; the peer says "more"', '"'])
def test_they_are_parted_as_they_were_joined(words: str, comment: str) -> None:
    """Whatever the peer says."""
    assert parted(reason_of(_answer(words, comment))) == (words, comment)


def test_a_fault_of_ours_is_no_word_of_the_peer() -> None:
    """Without a status nobody but us has said anything."""
    assert parted(reason_of(_answer("gone", "x.dcm has 3 bytes", None))) == ("gone: x.dcm has 3 bytes", "")


_ITEM = StoreItem("1.2.840.10008.5.1.4.1.1.2", "1.1", "1.2.840.10008.1.2.1", Path("MUELLER^HANS/1.dcm"), 0, 9)


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EACCES, errno.EIO, errno.ELOOP])
def test_an_error_of_the_system_is_told_without_its_file(number: int) -> None:
    """A folder of the archive is named after its patient."""
    error = OSError(number, "says the system", str(_ITEM.path))

    reason = reason_of(not_readable(Instance("1", _ITEM), error))

    assert reason.endswith(": says the system")
    assert "MUELLER" not in reason


def test_a_file_that_is_too_short_is_told_without_its_name(tmp_path: Path) -> None:
    """Before it is sent, and while it is."""
    path = tmp_path / "MUELLER^HANS.dcm"
    path.write_bytes(bytes(8))
    file = OutgoingFile(replace(_ITEM, path=path), SendBuffer())
    for step in (file.check_length, lambda: file.read_ahead(9)):
        with pytest.raises(SpoolCorrupt) as raised:
            step()
        assert "MUELLER" not in reason_of(not_readable(Instance("1", _ITEM), raised.value))
    file.close()


def test_standard_error_quotes_the_peer_only_when_it_is_asked_to() -> None:
    """It ends in logs of others (invariant 12); a fault of ours is told, and drives no terminal."""

    def result(status: int | None, comment: str) -> Result:
        return Result(
            "1.2", "1.1", "pacs", "refused", Outcome.FAILED, status, "words", 1, 1.0, comment=comment
        )

    session = Session("id", {}, started=datetime.now(UTC))
    session.ended = datetime.now(UTC)
    session.results = [result(0xA700, "MUELLER^HANS\x1b[2J"), result(None, "x.dcm is gone")]
    quiet, loud = "\n".join(session.lines()), "\n".join(session.lines(verbose=True))
    assert "MUELLER" not in quiet
    assert "words: x.dcm is gone" in quiet
    assert "words: MUELLER^HANS" in loud
    assert "\x1b" not in loud
    assert "MUELLER" not in "".join(session.text())


class _SlowBench(EditBench):
    def ask(self, *_: object, **__: object) -> dict[str, Any]:
        raise TooSlowError(f"{self.maker} was not done within 60 s")


def test_what_was_not_done_in_time_is_tried_again(tmp_path: Path) -> None:
    """A machine that has much else to do is not what is wrong with an instance."""
    instance = Instance("1", _ITEM)
    refused = not_readable(instance, NotEditable("it has no SOP Instance UID"))
    assert refused.outcome is dimse.Outcome.REFUSED
    with _SlowBench(tmp_path) as bench, pytest.raises(NotEditable) as raised:
        bench.edit(Source(tmp_path, 0, 1, _ITEM.transfer_syntax_uid), [])
    late = not_readable(instance, raised.value)
    assert late.outcome is dimse.Outcome.RETRY
    assert "the process that edits was not done within 60 s" in late.words
    assert not_transcodable(instance, TooSlowError("late"), "a1").outcome is dimse.Outcome.RETRY
    assert not_transcodable(instance, NotTranscodable("video"), "a1").outcome is dimse.Outcome.REFUSED
