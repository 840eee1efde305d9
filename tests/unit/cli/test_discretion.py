"""A peer's own words may name a patient: no command shows them unasked."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from click.testing import CliRunner

from dicomrelay.cli.main import cli
from tests.support.integrity import STUDY, Home, whole_home

NAME = "MUELLER^HANS"
COMMANDS = [["status"], ["jobs", "list"], ["jobs", "show", STUDY], ["trace", STUDY], ["destinations"]]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A delivery that was refused with an Error Comment, in every column where the ledger keeps a reason."""
    with whole_home(tmp_path_factory.mktemp("discretion")) as made:
        reason = f'Refused: data set does not match; the peer says "{NAME}"'
        made.sql("UPDATE deliveries SET state = 'refused', status = 43264, reason = :r", r=reason)
        made.sql("UPDATE transfers SET state = 'needs_attention', due_at = NULL, reason = :r", r=reason)
        yield made


def _said(home: Home, command: list[str], *options: str) -> str:
    argv = [*command, "--home", str(home.settings.home), *options]
    result = CliRunner().invoke(cli, argv, standalone_mode=False, catch_exceptions=False)
    return result.output


@pytest.mark.parametrize("options", [(), ("--json",)], ids=["words", "json"])
@pytest.mark.parametrize("command", COMMANDS, ids=lambda each: " ".join(each[:2]))
def test_what_a_peer_says_is_not_shown_unasked(
    home: Home, command: list[str], options: tuple[str, ...]
) -> None:
    assert NAME not in _said(home, command, *options)


@pytest.mark.parametrize("options", [("--verbose",), ("--json", "--verbose")], ids=["words", "json"])
@pytest.mark.parametrize(
    "command", [["status"], ["jobs", "show", STUDY]], ids=lambda each: " ".join(each[:2])
)
def test_who_asks_is_told(home: Home, command: list[str], options: tuple[str, ...]) -> None:
    """And who does not is told that there is more."""
    assert NAME in _said(home, command, *options)
    assert "the peer says more (--verbose" in _said(home, command)
