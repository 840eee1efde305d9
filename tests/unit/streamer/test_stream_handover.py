"""What is said to a stream at another process than the one that has it."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

from streamer.streams.handover import Post

NAME = "0" * 32


def test_words_reach_the_process_whose_name_the_stream_has(tmp_path: Path) -> None:
    """And nobody else; a stream that is not there, a name of nobody and a path are answered no."""
    heard: list[tuple[str, bytes]] = []

    async def say(name: str, body: bytes) -> bool:
        heard.append((name, body))
        return not name.endswith("f")

    async def never(name: str, body: bytes) -> bool:
        raise AssertionError(name)

    async def exchange() -> list[bool]:
        here, there = Post(tmp_path / "streams", never), Post(tmp_path / "streams", say)
        await here.start()
        await there.start()
        try:
            return [
                await here.hand_over(f"{there.name}-{NAME}", b"[]\n" * 20_000),
                await here.hand_over(f"{there.name}-{NAME[:-1]}f", b"[]"),
                await here.hand_over(f"{here.name}-{NAME}", b"[]"),
                await here.hand_over(f"ffffffff-{NAME}", b"[]"),
                await here.hand_over(f"../{there.name}-{NAME}", b"[]"),
            ]
        finally:
            await here.stop()
            await there.stop()

    assert asyncio.run(exchange()) == [True, False, False, False, False]
    assert [(name[-1], len(body)) for name, body in heard] == [("0", 60_000), ("f", 2)]
    assert [*(tmp_path / "streams").iterdir()] == []
    assert (tmp_path / "streams").stat().st_mode & 0o077 == 0


def test_sockets_of_killed_processes_are_swept_away(tmp_path: Path) -> None:
    """Old ones that nobody listens on; those that are in use or young stay."""

    async def say(name: str, body: bytes) -> bool:
        return True

    async def start_twice() -> set[str]:
        for name in ("aaaaaaaa", "bbbbbbbb"):
            with socket.socket(socket.AF_UNIX) as dead:
                dead.bind(str(tmp_path / f"{name}.sock"))
        first, second = Post(tmp_path, say), Post(tmp_path, say)
        await first.start()
        for name in ("aaaaaaaa", first.name):
            os.utime(tmp_path / f"{name}.sock", (0, 0))
        await second.start()
        found = {path.stem for path in tmp_path.iterdir()} - {first.name, second.name}
        assert await second.hand_over(f"{first.name}-{NAME}", b"[]")
        await first.stop()
        await second.stop()
        return found

    assert asyncio.run(start_twice()) == {"bbbbbbbb"}


def test_what_is_no_exchange_is_passed_over(tmp_path: Path) -> None:
    """Too long a line, no number, too many bytes: closed, and the next one is served."""

    async def say(name: str, body: bytes) -> bool:
        return True

    async def exchange() -> list[bytes]:
        post = Post(tmp_path, say)
        await post.start()
        answers = []
        for sent in (b"x" * 1000, b"name\n", b"name -1\n", b"name 999999999\n", b"name 2\n[]"):
            reader, writer = await asyncio.open_unix_connection(tmp_path / f"{post.name}.sock")
            writer.write(sent)
            answers.append(await reader.read(1))
            writer.close()
        await post.stop()
        return answers

    assert asyncio.run(exchange()) == [b"", b"", b"", b"", b"1"]
