"""A stream without its transport: words that come at once."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path
from typing import Any

from archive import Archive
from streamer.open_frames import FrameCache
from streamer.streams.gate import Gate
from streamer.streams.listings import Listings
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
