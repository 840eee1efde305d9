"""Copies are made by a child process, and nothing is left behind by them."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from dicomrelay.errors import NotTranscodable
from dicomrelay.transcode import Source, TranscodeLimits, Workshop, sweep
from dicomrelay.transcode.process import TooSlowError
from tests.support.data_sets import BIG_ENDIAN, EXPLICIT, IMPLICIT, UNDEFINED, Encoder

JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
JPEG_2000 = "1.2.840.10008.1.2.4.90"
_LITTLE = Encoder()


def _source(path: Path, data: bytes, syntax: str = EXPLICIT) -> Source:
    path.write_bytes(data)
    return Source(path, 0, len(data), syntax)


def _plain(folder: Path) -> Source:
    return _source(folder / "plain", _LITTLE.element(0x00080016, b"UI", b"1.2.3"))


def _us(tag: int, number: int) -> bytes:
    return _LITTLE.element(tag, b"US", number.to_bytes(2, "little"))


def _image(frame: bytes, *, rows: int = 8, columns: int = 8, bits: int = 8, frames: bytes = b"1") -> bytes:
    """An image with one fragment, whatever that is."""
    return b"".join(
        (
            _us(0x00280002, 1),
            _LITTLE.element(0x00280004, b"CS", b"MONOCHROME2"),
            _LITTLE.element(0x00280008, b"IS", frames),
            _us(0x00280010, rows),
            _us(0x00280011, columns),
            _us(0x00280100, bits),
            _us(0x00280101, bits),
            _us(0x00280103, 0),
            _LITTLE.element(0x7FE00010, b"OB", b"", length=UNDEFINED),
            _LITTLE.mark(0xFFFEE000, 0),
            _LITTLE.mark(0xFFFEE000, len(frame) + len(frame) % 2),
            frame + b"\0" * (len(frame) % 2),
            _LITTLE.mark(0xFFFEE0DD),
        )
    )


def _jpeg_head(rows: int, columns: int, precision: int = 8) -> bytes:
    size = rows.to_bytes(2, "big") + columns.to_bytes(2, "big")
    return b"\xff\xd8\xff\xc0\0\x0b" + bytes([precision]) + size + b"\1\1\x11\0" + b"\xff\xd9"


def _j2k_head(rows: int, columns: int) -> bytes:
    numbers = (columns, rows, 0, 0, columns, rows, 0, 0)
    return (
        b"\xff\x4f\xff\x51\0\x29\0\0"
        + b"".join(number.to_bytes(4, "big") for number in numbers)
        + b"\0\1\x07\1\1"
        + b"\xff\xd9"
    )


def test_a_copy_and_then_nothing(tmp_path: Path) -> None:
    """The copy is there until it is discarded; the folder until the workshop closes."""
    place = tmp_path / "copies"
    with Workshop(place) as workshop:
        copy = workshop.copy(_plain(tmp_path), IMPLICIT)
        assert copy.path.read_bytes() == Encoder(implicit=True).element(0x00080016, b"UI", b"1.2.3")
        assert len(copy.digest) == 64
        assert copy.path.parent.stat().st_mode & 0o077 == 0
        workshop.discard(copy)
        assert not copy.path.exists()
        workshop.copy(_plain(tmp_path), BIG_ENDIAN)
    assert not list(place.iterdir())


def test_a_folder_that_somebody_removed_is_made_again(tmp_path: Path) -> None:
    """The next copy has a place; nothing is left at the end."""
    place = tmp_path / "copies"
    with Workshop(place) as workshop:
        workshop.copy(_plain(tmp_path), IMPLICIT)
        shutil.rmtree(place)
        assert workshop.copy(_plain(tmp_path), IMPLICIT).path.exists()
    assert not list(place.iterdir())


def test_nothing_is_made_before_it_is_needed(tmp_path: Path) -> None:
    """No folder, no process: most batches need no copy."""
    with Workshop(tmp_path / "copies"):
        assert not (tmp_path / "copies").exists()


@pytest.mark.parametrize(
    ("data", "syntax", "words"),
    [
        (_image(_jpeg_head(8, 9)), JPEG_BASELINE, "8 × 9 × 1 of 8 bits, the data set says 8 × 8"),
        (_image(_jpeg_head(60_000, 60_000)), JPEG_BASELINE, "60000 × 60000"),
        (_image(_jpeg_head(8, 8, 12)), JPEG_BASELINE, "of 12 bits"),
        (_image(_j2k_head(1 << 31, 1 << 31)), JPEG_2000, "2147483648 × 2147483648"),
        (_image(b"GIF89a"), JPEG_BASELINE, "is no JPEG stream"),
        (_image(_jpeg_head(8, 8)[:-2]), JPEG_BASELINE, "is cut off"),
        (_image(_jpeg_head(8, 8)), JPEG_BASELINE, "frame 1 cannot be decoded"),
        (_image(b"", rows=0), JPEG_BASELINE, "0 rows"),
        (_image(b"").replace(b"MONO", b"\xff\xfe\0 "), JPEG_BASELINE, "is no code string"),
        (_image(b"", bits=12), JPEG_BASELINE, "12 allocated"),
        (_image(b"", frames=b"99999999"), JPEG_BASELINE, "99999999 frames"),
        (_image(b"", frames=b"two"), JPEG_BASELINE, "is no number"),
        (_image(b"", rows=65_535, columns=65_535), JPEG_BASELINE, "4294836225 bytes when decoded"),
        (_image(b"", rows=16_000, columns=16_000, frames=b"17"), JPEG_BASELINE, "do not fit"),
    ],
)
def test_what_a_stranger_claims_is_checked_before_a_decoder_sees_it(
    tmp_path: Path, data: bytes, syntax: str, words: str
) -> None:
    """Against the data set, and the data set against the limits."""
    with Workshop(tmp_path / "copies") as workshop:
        with pytest.raises(NotTranscodable, match=words):
            workshop.copy(_source(tmp_path / "bad", data, syntax), EXPLICIT)
        assert not [path for path in (tmp_path / "copies").rglob("*") if path.is_file()]


def _child_of(workshop: Workshop) -> int:
    assert workshop._child is not None
    return workshop._child._process.pid


def test_a_decoder_that_dies_costs_one_instance(tmp_path: Path) -> None:
    """The next one gets a new child."""
    with Workshop(tmp_path / "copies") as workshop:
        workshop.copy(_plain(tmp_path), IMPLICIT)
        child = _child_of(workshop)
        os.kill(child, signal.SIGSTOP)
        with pytest.raises(NotTranscodable, match=r"died over it \(signal 9\)"):
            workshop.copy(_plain(tmp_path), IMPLICIT, waiting=lambda: os.kill(child, signal.SIGKILL))
        assert workshop.copy(_plain(tmp_path), IMPLICIT).length


def test_a_decoder_that_died_while_it_was_idle_costs_nothing(tmp_path: Path) -> None:
    """As where the kernel is short of memory: the instance that comes next is not to blame."""
    with Workshop(tmp_path / "copies") as workshop:
        workshop.copy(_plain(tmp_path), IMPLICIT)
        assert workshop._child is not None
        idle = workshop._child._process
        idle.kill()
        idle.wait()
        assert workshop.copy(_plain(tmp_path), IMPLICIT).length
        assert _child_of(workshop) != idle.pid


def test_a_decoder_that_cannot_even_start_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not tried for ever."""
    monkeypatch.setattr(Workshop, "module", "dicomrelay.no_such_module")
    with (
        Workshop(tmp_path / "copies") as workshop,
        pytest.raises(NotTranscodable, match=r"died over it \(exit code 1\)"),
    ):
        workshop.copy(_plain(tmp_path), IMPLICIT)


def test_a_stop_that_reaches_the_child_too_costs_no_instance(tmp_path: Path) -> None:
    """Ctrl-C and service managers signal whole groups; the parent decides when it ends."""
    with Workshop(tmp_path / "copies") as workshop:
        workshop.copy(_plain(tmp_path), IMPLICIT)
        child = _child_of(workshop)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(child, number)
        assert workshop.copy(_plain(tmp_path), IMPLICIT).length
        assert _child_of(workshop) == child


_CLOSES_ITS_PIPE = """
import os, sys, time
sys.stdin.readline()
os.close(1)
time.sleep(600)
"""


def test_a_decoder_that_closes_its_pipe_and_lingers_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It costs its instance, not the whole batch; the next one gets a new child."""
    with Workshop(tmp_path / "copies") as workshop:
        workshop.copy(_plain(tmp_path), IMPLICIT)
        assert workshop._child is not None
        workshop._child.end()
        with subprocess.Popen(
            [sys.executable, "-c", _CLOSES_ITS_PIPE], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as lingers:
            monkeypatch.setattr(workshop._child, "_process", lingers)
            with pytest.raises(NotTranscodable, match="the decoder gave no answer"):
                workshop.copy(_plain(tmp_path), IMPLICIT)
            assert lingers.poll() == -signal.SIGKILL
        assert workshop.copy(_plain(tmp_path), IMPLICIT).length


def test_a_process_with_many_open_files_can_make_copies(tmp_path: Path) -> None:
    """Behind descriptor 1023 too, where select() ends."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 1_200 if hard == resource.RLIM_INFINITY else min(hard, 1_200)
    if most < 1_100:
        pytest.skip(f"this process may have {hard} open files only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
    opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(1_050)]
    try:
        with Workshop(tmp_path / "copies") as workshop:
            assert workshop.copy(_plain(tmp_path), IMPLICIT).length
    finally:
        for descriptor in opened:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_child_knows_no_secret_of_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It reads what strangers wrote."""
    monkeypatch.setenv("DICOMRELAY_DATABASE__URL", "postgresql://user:CANARY@host/name")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "CANARY")
    with Workshop(tmp_path / "copies") as workshop:
        workshop.copy(_plain(tmp_path), IMPLICIT)
        assert b"CANARY" not in Path(f"/proc/{_child_of(workshop)}/environ").read_bytes()


def test_a_decoder_that_hangs_is_killed_in_time(tmp_path: Path) -> None:
    """And whoever waits is told meanwhile that it still works."""
    ticks: list[float] = []
    with Workshop(tmp_path / "copies", TranscodeLimits(seconds=5)) as workshop:
        workshop.copy(_plain(tmp_path), IMPLICIT)
        child = _child_of(workshop)
        os.kill(child, signal.SIGSTOP)
        with pytest.raises(TooSlowError, match="the decoder was not done within 5 s"):
            workshop.copy(_plain(tmp_path), IMPLICIT, waiting=lambda: ticks.append(time.monotonic()))
        assert ticks
        with pytest.raises(ProcessLookupError):
            os.kill(child, 0)


def _zeros_in_rle(path: Path, side: int) -> Source:
    """A small file that is a large frame: each pair of bytes becomes 128 zeros (PS3.5 Annex G)."""
    segment = bytes((0x81, 0)) * (side * side // 128)
    head = (1).to_bytes(4, "little") + (64).to_bytes(4, "little") + bytes(56)
    return _source(path, _image(head + segment, rows=side, columns=side), "1.2.840.10008.1.2.5")


def test_the_child_cannot_take_the_machines_memory(tmp_path: Path) -> None:
    """What it is not granted it says, and the next instance finds it alive."""
    small, large = _zeros_in_rle(tmp_path / "small", 512), _zeros_in_rle(tmp_path / "large", 8_192)
    with Workshop(tmp_path / "copies", TranscodeLimits(memory_bytes=300 << 20)) as workshop:
        assert workshop.copy(small, EXPLICIT).length > 512 * 512
        with pytest.raises(NotTranscodable, match=r"bytes of memory|cannot be decoded"):
            workshop.copy(large, EXPLICIT)
        assert workshop.copy(small, EXPLICIT).length > 512 * 512


def test_no_copy_takes_the_room_that_the_spool_needs(tmp_path: Path) -> None:
    """Under the low-water mark there is none, and near it none that would go below."""
    with (
        Workshop(tmp_path / "copies", TranscodeLimits(min_free_bytes=1 << 60)) as workshop,
        pytest.raises(OSError, match="no room"),
    ):
        workshop.copy(_plain(tmp_path), IMPLICIT)
    big = _source(tmp_path / "big", _LITTLE.element(0x7FE00010, b"OW", bytes(1 << 20)))
    with (
        Workshop(tmp_path / "copies", TranscodeLimits(max_bytes=1 << 16)) as workshop,
        pytest.raises(OSError, match="no room"),
    ):
        workshop.copy(big, IMPLICIT)
    assert not list((tmp_path / "copies").iterdir())


_HOLDS_A_COPY = """
import sys, time
from pathlib import Path
from dicomrelay.transcode import Source, Workshop
path = Path(sys.argv[1])
workshop = Workshop(path.parent / "copies")
workshop.copy(Source(path, 0, path.stat().st_size, "1.2.840.10008.1.2.1"), "1.2.840.10008.1.2")
print(workshop._child._process.pid, flush=True)
time.sleep(60)
"""


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path) -> None:
    """Not before it is dead; and its child goes with it."""
    place, source = tmp_path / "copies", _plain(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDS_A_COPY, str(source.path)], stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        child = int(holder.stdout.readline())
        (folder,) = place.iterdir()
        assert sweep(place) == 0
        assert list(folder.iterdir())
        holder.kill()
        holder.wait()
        assert sweep(place) == 1
        assert not list(place.iterdir())
    for _ in range(100):
        if not Path(f"/proc/{child}").exists() or "Z" in Path(f"/proc/{child}/stat").read_text().split()[2]:
            return
        threading.Event().wait(0.05)
    pytest.fail("the child outlives its parent")


def test_the_child_outlives_the_thread_that_first_asked(tmp_path: Path) -> None:
    """A server's threads come and go; a child that dies with one would refuse the next instance."""
    source, children = _plain(tmp_path), []

    def ask() -> None:
        workshop.discard(workshop.copy(source, IMPLICIT))
        children.append(_children(workshop))

    with Workshop(tmp_path / "work") as workshop:
        for _ in range(2):
            asking = threading.Thread(target=ask)
            asking.start()
            asking.join()
            time.sleep(0.05)  # as long as the kernel takes for its signal
    assert len(children) == 2
    assert children[0] == children[1]


def _children(workshop: Workshop) -> int:
    assert workshop._child is not None
    return workshop._child._process.pid
