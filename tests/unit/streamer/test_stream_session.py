"""A stream without its transport: words that come at once."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from archive import Archive
from streamer.open_frames import FrameCache
from streamer.streams.gate import Gate
from streamer.streams.listings import Listings
from streamer.streams.reading import FrameUnderWay
from streamer.streams.session import Session
from tests.support.streams import STUDY, make_study, store


def test_of_two_requests_with_one_number_one_is_refused(tmp_path: Path) -> None:
    """Over HTTP they may come at once: both are looked up before either is open."""
    store(tmp_path, make_study(tmp_path / "files", slices=2, frames=0))

    async def heard(archive: Archive) -> list[dict[str, Any]]:
        with closing(FrameCache(archive)) as cache:
            session = Session("s", cache, Listings(archive), Gate())
            words = {"op": "open", "id": 1, "study": STUDY, "paused": True}
            await asyncio.gather(session.say(words), session.say(words))
            session.end()
            found = [*session._words]  # what would go out next
            session.close()
        return found

    with closing(Archive.open(tmp_path / "archive")) as archive:
        begun, opened, refused = asyncio.run(heard(archive))

    assert [begun["event"], opened["event"], refused["event"]] == ["begun", "opened", "refused"]
    assert (refused["id"], refused["status"]) == (1, 409)


def test_what_fails_after_it_was_cancelled_is_nobodys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number may be another request's by now: it is not told of frames that will not come, nor the stream broken."""
    store(tmp_path, make_study(tmp_path / "files", slices=1, frames=0))

    async def heard(archive: Archive) -> list[Any]:
        with closing(FrameCache(archive)) as cache:
            session = Session("s", cache, Listings(archive), Gate())

            async def piece(_under_way: FrameUnderWay, _most: int) -> bytearray:
                await session.say({"op": "cancel", "id": 1})
                raise OSError("the disk")

            monkeypatch.setattr(FrameUnderWay, "piece", piece)
            await session.say({"op": "open", "id": 1, "study": STUDY})
            found = [record async for record in session.records(until=lambda: True)]
            session.close()
        return found

    with closing(Archive.open(tmp_path / "archive")) as archive:
        found = asyncio.run(heard(archive))

    assert [words["event"] for words in found] == ["begun", "opened", "instance", "cancelled"]
