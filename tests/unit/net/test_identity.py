"""Hashes of passcodes, and what a destination is shown."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dicomrelay.errors import ConfigurationError
from dicomrelay.net.identity import PasscodeHash, shown_identity
from dicomrelay.settings import DestinationIdentitySettings
from dicomrelay.ul.pdu import UserIdentity

SALT, DIGEST = "A" * 22 + "==", "B" * 43 + "="


def test_a_hash_survives_its_text_and_knows_its_passcode_only() -> None:
    hashed = PasscodeHash.parse(str(PasscodeHash.of("geheim ü")))
    assert hashed.matches("geheim ü".encode())
    assert not hashed.matches(b"geheim")
    assert not hashed.matches(b"")
    assert str(PasscodeHash.of("x")) != str(PasscodeHash.of("x"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "geheim",
        "md5$1$1$1$AAAA$BBBB",
        f"scrypt$16384$8$1${SALT}$BBBB",
        f"scrypt$16385$8$1${SALT}${DIGEST}",
        f"scrypt$0$8$1${SALT}${DIGEST}",
        f"scrypt$16384$-8$1${SALT}${DIGEST}",
        f"scrypt$1073741824$8$1${SALT}${DIGEST}",
        f"scrypt$16384$8$1$!!${DIGEST}",
    ],
)
def test_what_is_no_hash_or_asks_for_too_much_memory_is_refused_unquoted(text: str) -> None:
    """It could be the passcode itself, in the wrong key."""
    with pytest.raises(ConfigurationError) as caught:
        PasscodeHash.parse(text)
    assert "geheim" not in str(caught.value)


def test_the_command_prints_a_hash_that_fits() -> None:
    """What the settings page tells people to run."""
    done = subprocess.run(
        [sys.executable, "-m", "dicomrelay.net.identity"],
        input="geheim\n",
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert PasscodeHash.parse(done.stdout.strip()).matches(b"geheim")


def test_a_user_is_shown_with_or_without_passcode() -> None:
    named = DestinationIdentitySettings(user="ct 1")
    assert shown_identity(named) == UserIdentity(1, False, b"ct 1")
    full = DestinationIdentitySettings(user="ct 1", passcode="geheim", confirm=True)
    shown = shown_identity(full)
    assert shown == UserIdentity(2, True, b"ct 1", b"geheim")
    assert "geheim" not in repr(full) + repr(shown)


def test_a_token_is_read_each_time(tmp_path: Path) -> None:
    """Tokens expire, and somebody writes new ones."""
    path = tmp_path / "token"
    settings = DestinationIdentitySettings(jwt_file=path)
    for token in ("a.b.c", "d.e.f"):
        path.write_text(token + "\n")
        assert shown_identity(settings) == UserIdentity(5, False, token.encode())


@pytest.mark.parametrize("content", [None, "", "a.b", "a.b.c d", "a.b.c.d", "a." * 40_000])
def test_a_token_that_is_none_names_its_file(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigurationError, match=str(path)):
        shown_identity(DestinationIdentitySettings(jwt_file=path))


@pytest.mark.parametrize(
    "values", [{}, {"user": "a", "jwt_file": "b"}, {"jwt_file": "b", "passcode": "c"}, {"user": ""}]
)
def test_one_kind_of_identity(values: dict[str, str]) -> None:
    with pytest.raises(
        ValueError, match=r"set user, or jwt_file|passcode goes with user|at least 1 character"
    ):
        DestinationIdentitySettings.model_validate(values)
