"""Scheduled streams over real connections: order, moves, shares, bounds, and both Python clients."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from streamer.bounds import Bounds
from streamer.client import AsyncStreamClient, Frame, StreamClient, StreamEnded, StreamRefused
from streamer.streams.wire import PIECE_BYTES
from tests.support.markdown import ROOT
from tests.support.streamer import running_streamer
from tests.support.streams import SLICES, STUDY, VOLUME, RawStream, filled, make_study, slice_uid, store

BIG = f"{STUDY}.3"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    store(home, make_study(home / "files"))
    return home


@pytest.fixture(scope="module")
def url(home: Path) -> Iterator[str]:
    with running_streamer(home) as client:
        yield str(client.base_url)


@pytest.fixture(params=["websocket", "http"])
def stream(request: pytest.FixtureRequest, url: str) -> Iterator[StreamClient]:
    with StreamClient(url, transport=request.param) as client:
        yield client


def test_a_series_flows_from_the_primary_index_outward(stream: StreamClient) -> None:
    """Each frame once, with its bytes, its instance and its number."""
    request = stream.open(STUDY, series=SLICES, primary=20)

    frames = [*stream]

    assert [frame.position for frame in frames[:5]] == [20, 21, 19, 22, 18]
    assert sorted(frame.position for frame in frames) == [*range(40)]
    assert all(frame.data == filled(frame.position + 1) for frame in frames)
    assert all(frame.sop_instance_uid == slice_uid(frame.position + 1) for frame in frames)
    assert {(frame.series_instance_uid, frame.frame_number) for frame in frames} == {(SLICES, 1)}
    assert (frames[0].facts.rows, frames[0].facts.bits_allocated) == (64, 16)
    assert frames[0].facts.transfer_syntax == "1.2.840.10008.1.2.1"
    assert (request.frames, request.has_ended, request.missing) == (40, True, [])


def test_a_study_is_its_series_in_order_with_all_frames(stream: StreamClient) -> None:
    """40 slices, then the 30 frames of the volume; forward is from the first to the last."""
    stream.open(STUDY, order="forward")

    frames = [*stream]

    assert [frame.position for frame in frames] == [*range(70)]
    assert [frame.frame_number for frame in frames[40:]] == [*range(1, 31)]
    assert [frame.data for frame in frames[40:]] == [filled(n) for n in range(1, 31)]


def test_some_instances_and_some_frames_of_them(stream: StreamClient) -> None:
    """Frames 11 to 20 of the volume, from frame 15 on; positions count what was asked for."""
    stream.open(STUDY, instances=[f"{VOLUME}.1"], frames=(11, 20), primary=(f"{VOLUME}.1", 15))

    frames = [*stream]

    assert [frame.frame_number for frame in frames[:3]] == [15, 16, 14]
    assert {frame.position: frame.frame_number for frame in frames} == {n: n + 11 for n in range(10)}


def test_a_move_changes_what_comes_next_and_nothing_comes_twice(stream: StreamClient) -> None:
    """With a window of two frames the server cannot run ahead: after the move the new index comes at once."""
    stream._window = type(stream._window)(2 * len(filled(1)))
    stream._say(stream._window.first())
    request = stream.open(STUDY, series=SLICES, order="forward")
    seen = []
    for frame in stream:
        seen.append(frame.position)
        if len(seen) == 5:
            stream.move(request, 30)

    assert seen[:5] == [0, 1, 2, 3, 4]
    assert 30 in seen[5:9], seen
    at = seen.index(30)
    assert seen[at : at + 10] == [*range(30, 40)]
    assert sorted(seen) == [*range(40)]


def test_two_requests_share_by_their_weights(url: str) -> None:
    """3 : 1, as long as both have frames."""
    with RawStream(url) as raw:
        for number, weight in ((1, 3), (2, 1)):
            raw.say(op="open", id=number, study=STUDY, series=SLICES, weight=weight, paused=True)
        raw.until("opened")
        raw.until("opened")
        raw.say(op="credit", bytes=1)
        for number in (1, 2):
            raw.say(op="resume", id=number)
        raw.say(op="credit", bytes=48 * len(filled(1)) - 1)
        frames: Counter[int] = Counter()
        while sum(frames.values()) < 48:
            record = raw.receive()
            if isinstance(record, tuple) and record[0].is_last:
                frames[record[0].request_id] += 1

    assert frames[1] == pytest.approx(36, abs=1)


def test_a_paused_request_waits_and_a_cancelled_one_is_gone(url: str) -> None:
    """What is said of an id that has ended is passed over."""
    with RawStream(url) as raw:
        raw.say(op="open", id=7, study=STUDY, series=SLICES, paused=True)
        raw.until("opened")
        with pytest.raises(TimeoutError):
            raw.receive(0.3)
        raw.say(op="credit", bytes=5 * len(filled(1)))
        raw.say(op="resume", id=7)
        raw.say(op="cancel", id=7)
        raw.say(op="move", id=7, primary=3)
        pieces, words = raw.until("cancelled")
        assert len(pieces) <= 5
        assert [each["event"] for each in words if each["event"] != "instance"] == ["cancelled"]
        raw.say(op="open", id=7, study=STUDY, series=VOLUME)
        raw.say(op="credit", bytes=2**20)
        pieces, words = raw.until("done")
        assert words[-1] == {"event": "done", "id": 7, "sent": 30, "missing": 0}


def test_credit_is_kept_to_the_byte(url: str) -> None:
    """1000 bytes, then 24: pieces of that and no more."""
    with RawStream(url) as raw:
        raw.say(op="credit", bytes=1000)
        raw.say(op="open", id=1, study=STUDY, series=SLICES)
        raw.until("instance")
        header, payload = raw.receive()
        assert (header.offset, len(payload), header.is_last) == (0, 1000, False)
        with pytest.raises(TimeoutError):
            raw.receive(0.2)
        raw.say(op="credit", bytes=24)
        header, payload = raw.receive()
        assert (header.offset, len(payload), header.frame_bytes) == (1000, 24, len(filled(1)))


REFUSED = [
    ({"op": "open", "id": 1, "study": "../../etc"}, 400, "no UID"),
    ({"op": "open", "id": 1, "study": "1.2.3"}, 404, "study 1.2.3"),
    ({"op": "open", "id": 1, "study": STUDY, "instances": ["1.2.3"]}, 404, "instance 1.2.3"),
    ({"op": "open", "id": 0, "study": STUDY}, 400, "id is 0"),
    ({"op": "open", "id": True, "study": STUDY}, 400, "id is True"),
    ({"op": "open", "id": 1, "study": STUDY, "order": ["up"]}, 400, "outward"),
    ({"op": "open", "id": 1, "study": STUDY, "weight": 101}, 400, "1 to 100"),
    ({"op": "open", "id": 1, "study": STUDY, "primary": -1}, 400, "primary is -1"),
    ({"op": "open", "id": 1, "study": STUDY, "primary": {"instance": "1.2", "frame": 1}}, 404, "frame 1 of 1.2"),
    ({"op": "open", "id": 1, "study": STUDY, "frames": [2, 1]}, 400, "[first, last]"),
    ({"op": "open", "id": 1, "study": STUDY, "instances": []}, 400, "no list"),
    ({"op": "open", "id": 1, "study": STUDY, "colour": "red"}, 400, "'colour'"),
    ({"op": "open", "id": 1}, 400, "study is missing"),
    ({"op": "credit", "bytes": 2**31}, 400, "bytes is"),
    ({"op": "fly"}, 400, "'fly' is none of open"),
    ({"op": ["open"]}, 400, "none of open"),
    ({}, 400, "none of open"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "status", "detail"), REFUSED)
def test_words_that_make_no_sense_are_refused_and_the_stream_goes_on(
    url: str, words: dict[str, object], status: int, detail: str
) -> None:
    """In words that name what is wrong; over HTTP alike."""
    with RawStream(url) as raw:
        raw.say(**words)
        _, heard = raw.until("refused")
        assert (heard[-1]["status"], detail in heard[-1]["detail"]) == (status, True), heard[-1]
        raw.say(op="open", id=1, study=STUDY, series=VOLUME)
        assert raw.until("done")[1][-1]["sent"] == 30
    answer = httpx.post(f"{url}/streams", json=[words])
    assert (answer.status_code, detail.encode() in answer.content) == (200, True)


def test_too_many_requests_are_refused(url: str) -> None:
    """64 on one stream; the 65th is told so."""
    with RawStream(url) as raw:
        for number in range(1, 66):
            raw.say(op="open", id=number, study=STUDY, series=VOLUME, paused=True)
        _, words = raw.until("refused")
        assert (words[-1]["id"], words[-1]["status"]) == (65, 429)
        raw.say(op="open", id=1, study=STUDY)
        assert raw.until("refused")[1][-1]["status"] == 409


@pytest.mark.parametrize(
    ("message", "code"),
    [("no JSON", 1007), ("[1]", 1007), ("[" * 5000, 1007), (b"\0\1", 1003), (" " * 300_000, 1009)],
)
def test_what_is_no_words_ends_the_stream(url: str, message: str | bytes, code: int) -> None:
    """With a close code that says which."""
    with RawStream(url) as raw:
        raw.socket.send(message)
        with pytest.raises(ConnectionClosed) as caught:
            raw.until("never")
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == code


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"Origin": "http://evil.example"}, 403), ({"Host": "evil.example"}, 421)],
)
def test_pages_of_other_sites_get_no_stream(url: str, headers: dict[str, str], status: int) -> None:
    """Browsers let any page open a WebSocket anywhere; the handshake says where the page is from."""
    with pytest.raises(InvalidStatus) as caught:
        RawStream(url, additional_headers=headers).close()
    assert caught.value.response.status_code == status
    posted = httpx.post(f"{url}/streams", json=[], headers=headers)
    assert posted.status_code == status


@pytest.mark.parametrize(
    ("method", "path", "options", "status"),
    [
        ("GET", "/streams", {}, 405),
        ("POST", "/streams", {"content": b"[]", "headers": {"content-type": "text/plain"}}, 415),
        ("POST", "/streams", {"content": b"{", "headers": {"content-type": "application/json"}}, 400),
        ("POST", "/streams/" + "0" * 32, {"json": []}, 404),
        ("POST", "/streams/12345678-" + "0" * 32, {"json": []}, 404),
        ("POST", "/streams/%2e%2e%2fx", {"json": []}, 404),
    ],
)
def test_what_is_no_stream_over_http_is_answered_in_words(
    url: str, method: str, path: str, options: dict[str, object], status: int
) -> None:
    """405, 415, 400, 404: a problem document each."""
    answer = httpx.request(method, f"{url}{path}", **options)

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


def test_an_empty_list_of_words_is_an_empty_stream(url: str) -> None:
    """It begins and ends."""
    answer = httpx.post(f"{url}/streams", json=[])

    assert (answer.status_code, b'"begun"' in answer.content) == (200, True)
    assert answer.headers["cache-control"] == "no-store"


def test_frames_that_are_not_there_are_missing_and_the_rest_comes(home: Path, tmp_path: Path) -> None:
    """A file that is cut short, one that is gone, one without pixel data: each is told, with why."""
    other = tmp_path / "home"
    paths = make_study(tmp_path / "files", slices=6, frames=10)
    store(other, paths)
    stored = {path.stem: path for path in (other / "archive" / "data").rglob("*.dcm")}
    os.truncate(stored[slice_uid(2)], 3000)
    stored[slice_uid(4)].unlink()
    with running_streamer(other) as client, StreamClient(str(client.base_url)) as stream:
        request = stream.open(STUDY)
        frames = [*stream]

    assert [frame.position for frame in frames] == [0, 2, 4, 5, *range(6, 16)]
    assert {(missing.ranges, missing.status) for missing in request.missing} == {
        (((1, 1),), 404), (((3, 1),), 500),
    }  # fmt: skip


def test_a_frame_of_many_pieces_is_put_together_between_others(tmp_path: Path) -> None:
    """Frames of 1.5 MB take turns piece by piece with small ones, and come whole."""
    store(tmp_path, make_study(tmp_path / "files", slices=3, frames=0, rows=1000, columns=770))
    with running_streamer(tmp_path) as client:
        with RawStream(str(client.base_url)) as raw:
            raw.say(op="open", id=1, study=STUDY, paused=True)
            raw.say(op="open", id=2, study=STUDY)
            raw.say(op="resume", id=1)
            pieces, _ = raw.until("done")
        with StreamClient(str(client.base_url)) as stream:
            stream.open(STUDY)
            stream.open(STUDY, primary=2)
            frames = [*stream]

    assert max(len(payload) for _, payload in pieces) == PIECE_BYTES
    assert len(frames) == 6
    assert all(frame.data == filled(frame.position + 1, 1000, 770) for frame in frames)


def test_a_client_that_reads_nothing_holds_nobody_up(url: str) -> None:
    """Its stream stands; the next one has its frames at once."""
    with RawStream(url, close_timeout=0.1) as lazy:
        for number in range(1, 33):
            lazy.say(op="open", id=number, study=STUDY)
        began = time.monotonic()
        with StreamClient(url) as stream:
            stream.open(STUDY, series=SLICES)
            assert len([*stream]) == 40
        assert time.monotonic() - began < 5


def test_the_examples_of_the_page_run(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Both blocks of Python of docs/howto/stream-frames.md, with the names of a study that is there."""
    page = (ROOT / "docs" / "howto" / "stream-frames.md").read_text("utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    for old, new in (("http://127.0.0.1:8080", url), ("STUDY_UID", STUDY), ("SERIES_UID", SLICES)):
        blocks = [block.replace(old, new) for block in blocks]

    printed = []
    for block in blocks:
        exec(compile(block, "stream-frames.md", "exec"), {})
        printed.append(capsys.readouterr().out.splitlines())

    assert [len(lines) for lines in printed] == [40, 70]
    assert printed[0][0] == f"20 {slice_uid(21)} 1 {len(filled(1))}"


def test_as_many_streams_as_the_settings_say(home: Path) -> None:
    """One more is told to come back; when one has ended there is room again."""
    with running_streamer(home, streams=2) as client:
        url = str(client.base_url)
        first, second = RawStream(url), RawStream(url)
        with pytest.raises(StreamRefused, match="503") as caught, StreamClient(url):
            pass
        assert caught.value.status == 503
        assert client.post("/streams", json=[]).headers["retry-after"] == "10"
        first.close()
        deadline = time.monotonic() + 10
        while client.post("/streams", json=[]).status_code == 503:
            assert time.monotonic() < deadline
        second.close()


def test_the_asyncio_client_does_the_same(url: str) -> None:
    """Two streams at once on one loop, with a move and a cancellation."""

    async def moved() -> list[Frame]:
        async with AsyncStreamClient(url, window=2 * len(filled(1))) as stream:
            request = await stream.open(STUDY, series=SLICES, order="forward")
            frames = []
            async for frame in stream:
                frames.append(frame)
                if len(frames) == 3:
                    await stream.move(request, (slice_uid(36), 1))
            return frames

    async def cancelled() -> int:
        async with AsyncStreamClient(url, window=len(filled(1))) as stream:
            request = await stream.open(STUDY, series=SLICES)
            count = 0
            async for _ in stream:
                count += 1
                await stream.cancel(request)
            assert request.has_ended
            return count

    async def both() -> tuple[list[Frame], int]:
        return await asyncio.gather(moved(), cancelled())  # type: ignore[return-value]

    frames, count = asyncio.run(both())

    assert count < 40
    assert 35 in [frame.position for frame in frames[3:8]]
    assert sorted(frame.position for frame in frames) == [*range(40)]


def test_a_server_that_stops_ends_the_streams(home: Path) -> None:
    """The client hears that the stream ended early, not that all has come."""
    with running_streamer(home) as client:
        stream = StreamClient(str(client.base_url)).__enter__()
        stream.open(STUDY, paused=True)
    with pytest.raises(StreamEnded):
        next(iter(stream))
    stream.__exit__(None, None, None)


def test_the_handshake_shows_a_token(home: Path) -> None:
    """By the field from programs, by a subprotocol from browsers; without it 401."""
    access = {"token": "s3cret-s3cret-s3cret-s3cret-s3cret-x"}
    with running_streamer(home, access=access) as client:
        url = str(client.base_url)
        with pytest.raises(StreamRefused, match="401"), StreamClient(url):
            pass
        for transport in ("websocket", "http"):
            with StreamClient(url, token=access["token"], transport=transport) as stream:  # type: ignore[arg-type]
                stream.open(STUDY, series=VOLUME)
                assert len([*stream]) == 30


def test_what_the_schedule_wants_next_is_read_ahead(tmp_path: Path) -> None:
    """With nothing in the page cache and credit for one frame, the frames behind it are on their way from the disk."""
    store(tmp_path, make_study(tmp_path / "files", slices=30, frames=0, rows=256, columns=256))
    stored = {path.stem: path for path in (tmp_path / "archive" / "data").rglob("*.dcm")}
    with running_streamer(tmp_path) as client, RawStream(str(client.base_url)) as raw:
        # Once from end to end, so that frame indexes are there.
        raw.say(op="open", id=1, study=STUDY)
        raw.until("done")
        for path in stored.values():
            with path.open("rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        if is_cached(stored[slice_uid(13)]):
            pytest.skip("this file system keeps what it is asked to forget")
        raw.say(op="credit", bytes=len(filled(1, 256, 256)))
        raw.say(op="open", id=2, study=STUDY, primary=9)
        raw.until("instance")
        header, payload = raw.receive()
        assert (header.position, payload) == (9, filled(10, 256, 256)[: len(payload)])
        deadline = time.monotonic() + 10
        while not all(is_cached(stored[slice_uid(n)]) for n in (8, 9, 11, 12, 13)):
            assert time.monotonic() < deadline, "nothing was read ahead"
            time.sleep(0.02)
        assert not is_cached(stored[slice_uid(30)])


def is_cached(path: Path) -> bool:
    """Whether the page cache has the middle of a file."""
    with path.open("rb") as file:
        try:
            return os.preadv(file.fileno(), [bytearray(1)], path.stat().st_size // 2, os.RWF_NOWAIT) == 1
        except BlockingIOError:
            return False


def test_a_stream_outlives_the_time_that_a_request_has(home: Path) -> None:
    """The clock of header fields stops with the handshake; a body that is no handshake still has its end."""
    with running_streamer(home, bounds=Bounds(head_s=0.3)) as client, RawStream(str(client.base_url)) as raw:
        raw.until("begun")
        with pytest.raises(TimeoutError):
            raw.receive(1)
        raw.say(op="open", id=1, study=STUDY, series=VOLUME)
        assert raw.until("done")[1][-1]["sent"] == 30
