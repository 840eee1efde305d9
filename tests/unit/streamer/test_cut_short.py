"""Answers whose files vanish after the status went out."""

from __future__ import annotations

import asyncio
import logging
from contextlib import closing
from pathlib import Path

import httpx
import pytest
import structlog

from archive import Archive
from streamer.answers import Message
from streamer.app import create_app
from streamer.cut_short import CutShortError, without_tracebacks
from tests.support.streams import STUDY, make_study, store


async def shut_down() -> Message:
    return {"type": "lifespan.shutdown"}


async def nobody_hears(_message: Message) -> None:
    pass


@pytest.mark.parametrize(
    ("path", "accept"),
    [
        (f"/studies/{STUDY}", "application/zip"),
        (f"/studies/{STUDY}", 'multipart/related; type="application/dicom"'),
        (f"/studies/{STUDY}/rendered", 'multipart/related; type="image/jpeg"'),
    ],
)
def test_one_line_says_which_instance_is_missing(tmp_path: Path, path: str, accept: str) -> None:
    """And where it was asked for; no path of a file, no second line for the same."""
    store(tmp_path, make_study(tmp_path / "files", slices=3, frames=0))
    with closing(Archive.open(tmp_path / "archive")) as archive:
        [*_, last] = archive.instances(STUDY)
        archive.path_of(last).unlink()

        app = create_app(archive)

        async def ask() -> None:
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                await client.get(path, headers={"accept": accept})

        with structlog.testing.capture_logs() as lines, pytest.raises(CutShortError):
            asyncio.run(ask())
        asyncio.run(app({"type": "lifespan"}, shut_down, nobody_hears))

    [line] = [each for each in lines if each["log_level"] == "error"]
    assert (line["event"], line["path"]) == ("answer cut short", path)
    assert last.sop_instance_uid in line["error"]
    assert str(tmp_path) not in str(lines)


def test_the_server_adds_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    """To what was told; everything else it says."""
    without_tracebacks()
    server = logging.getLogger("uvicorn.error")
    for error in (CutShortError("told"), ValueError("news")):
        server.error("Exception in ASGI application\n", exc_info=error)

    assert [
        record.exc_info[1].args for record in caplog.records if record.exc_info and record.exc_info[1]
    ] == [("news",)]
