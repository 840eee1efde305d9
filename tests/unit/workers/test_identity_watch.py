"""The scheduler says when the spool has lost its name, once, and when it has it again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.rooms import rooms_at
from workers.identity_watch import IdentityWatch


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"\0\0", "holds no name"), (b"other-01234567\n", "holds other-01234567"), (None, "is gone")],
)
def test_what_is_wrong_with_the_name_is_said_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, words: str
) -> None:
    """And no new name is made by looking."""
    with rooms_at(tmp_path / "home") as (rooms, _):
        watch = IdentityWatch(rooms)
        path = rooms.settings.path("spool", "identity")
        right = path.read_bytes()
        assert watch.look() == ""
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content)
        assert words in watch.look()
        assert words in watch.look()
        assert path.exists() == (content is not None)
        path.write_bytes(right)
        assert watch.look() == ""
        said = capsys.readouterr().out
    assert said.count("the name of the spool is lost") == 1
    assert said.count("the spool has its name again") == 1
