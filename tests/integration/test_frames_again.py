"""Frame indexes are made again on demand, and several processes serve what they are of."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from archive.frame_index import FrameIndex
from streamer.frames import MOST_FRAMES
from tests.support.archive import pydicom_file
from tests.support.frames import archived, items, pixel_file
from tests.support.processes import environment, free_port, listens, running, until
from tests.support.streamer import running_streamer

JPEG = "1.2.840.10008.1.2.4.50"
TAKES = {"accept": "image/jpeg"}
FRAMES = [(b"aa", b"bb\xff\xd9"), (b"cc\xff\xd9",), (b"dd", b"ee", b"ff\xff\xd9")]
WHOLE = [b"".join(frame) for frame in FRAMES]


def the_index(home: Path) -> Path:
    """The one frame index of a home."""
    [path] = (home / "archive").rglob("*.frames")
    return path


def flip(path: Path, position: int) -> None:
    """Change one byte, from the end when negative, and leave size and times alone as a failing disk does."""
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[position] ^= 0xFF
    with path.open("r+b") as file:
        file.write(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


HARMS: dict[str, Callable[[Path], None]] = {
    "deleted": Path.unlink,
    "a row of the first frame": lambda path: flip(path, -6 * 16 - 3 * 32),
    "a row of a fragment": lambda path: flip(path, -6 * 16 + 3),
    "the header": lambda path: flip(path, 100),
    "another version": lambda path: flip(path, 8),
    "cut short": lambda path: os.truncate(path, path.stat().st_size - 7),
    "empty": lambda path: os.truncate(path, 0),
}


# Read once when an instance is opened: what happens to them then does not matter until it is opened again.
READ_ONCE = {"the header", "another version"}


@pytest.mark.parametrize("harm", HARMS)
def test_a_harmed_index_is_made_again_at_the_next_request(tmp_path: Path, harm: str) -> None:
    """Before the instance is open, and while it is: the client gets its frame, and the index is whole again."""
    fragments = [fragment for frame in FRAMES for fragment in frame]
    [url] = archived(
        tmp_path, [pixel_file(tmp_path, items(*fragments), JPEG, undefined=True, NumberOfFrames=3)]
    )
    whole = the_index(tmp_path).read_bytes()
    with running_streamer(tmp_path) as client:
        for is_open in (False, True):
            HARMS[harm](the_index(tmp_path))
            for number, frame in enumerate(WHOLE, start=1):
                answer = client.get(f"{url}/frames/{number}", headers=TAKES)
                assert (answer.status_code, answer.content) == (200, frame)
            assert (the_index(tmp_path).read_bytes() == whole) is not (is_open and harm in READ_ONCE)


def test_an_inflated_file_that_is_gone_is_made_again(tmp_path: Path) -> None:
    """What a cleaner of temporary files may do."""
    [url] = archived(tmp_path, [pydicom_file("image_dfl.dcm")])
    with running_streamer(tmp_path) as client:
        before = client.get(f"{url}/frames/1")
    next((tmp_path / "archive").rglob("*.inflated")).unlink()

    with running_streamer(tmp_path) as client:
        again = client.get(f"{url}/frames/1")

    assert (again.status_code, len(again.content)) == (200, len(before.content))


def test_the_last_of_many_frames_is_found_without_the_others(tmp_path: Path) -> None:
    """100,000 fragments, the most frames in one request, and what is beside them is refused."""
    count = 100_000
    values = [b"%08d" % number for number in range(1, count + 1)]
    [url] = archived(
        tmp_path, [pixel_file(tmp_path, items(*values), JPEG, undefined=True, NumberOfFrames=count)]
    )
    with running_streamer(tmp_path) as client:
        for number in (1, count // 2, count):
            assert client.get(f"{url}/frames/{number}", headers=TAKES).content == b"%08d" % number
        listed = ",".join(str(number) for number in range(count, count - MOST_FRAMES, -1))
        several = client.get(f"{url}/frames/{listed}")
        beyond = client.get(f"{url}/frames/{count + 1}")

    assert several.content.count(b"Content-Type") == MOST_FRAMES
    assert several.content.index(b"00100000") < several.content.index(b"00099999")
    assert (beyond.status_code, f"1 to {count}" in beyond.text) == (404, True)
    with closing(FrameIndex.open(the_index(tmp_path))) as index:
        assert index.header.fragment_count == 0


def children(pid: int) -> list[int]:
    """Processes that `pid` started."""
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists children")
def test_several_processes_share_the_port_and_end_with_their_parent(tmp_path: Path) -> None:
    """One that is killed is replaced; none outlives a parent that is."""
    [url] = archived(tmp_path, [pydicom_file("CT_small.dcm")])
    port = free_port()
    (tmp_path / "relay.toml").write_text(f"[streamer]\nport = {port}\nprocesses = 2\n", "ascii")
    command = [sys.executable, "-m", "dicomrelay", "streamer", "--home", tmp_path]
    log = tmp_path / "log"
    with running(command, folder=tmp_path, variables=environment({}), log=log) as streamer:
        until(lambda: listens(port) and len(children(streamer.pid)) == 2, seconds=60, what="both are there")
        first, second = children(streamer.pid)
        os.kill(first, signal.SIGKILL)
        until(
            lambda: len(children(streamer.pid)) == 2 and first not in children(streamer.pid),
            seconds=30,
            what="the dead one is replaced",
        )
        assert second in children(streamer.pid)
        assert b"streamer.process-died" in log.read_bytes()
        for _ in range(5):
            assert httpx.get(f"http://127.0.0.1:{port}{url}/frames/1", timeout=30).status_code == 200
        orphans = children(streamer.pid)
        streamer.kill()
        streamer.wait(30)
        until(
            lambda: not any(Path(f"/proc/{pid}").exists() for pid in orphans), seconds=30, what="they end too"
        )
    assert not listens(port)
