"""Which rules are in force while their file changes (docs/design/rules.md)."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from dicomrelay.errors import ConfigurationError
from dicomrelay.routing import book as module
from dicomrelay.routing.book import RuleBook
from dicomrelay.settings import Settings, load

_TOML = 'rules_file = "rules.toml"\n' + "".join(
    f'[[destinations]]\nname = "{name}"\nae_title = "X"\nhost = "127.0.0.1"\n' for name in ("pacs", "other")
)
PACS, OTHER = ('[[rules]]\nsend_to = ["pacs"]\n', '[[rules]]\nsend_to = ["other"]\n')


class _Clock:
    """Ages of files are by the machine's clock: the book's is put forward instead of waiting."""

    def __init__(self) -> None:
        self.forward = 0.0

    def time(self) -> float:
        return time.time() + self.forward

    def monotonic(self) -> float:
        return time.monotonic() + self.forward

    def sleep(self, seconds: float) -> None:
        self.forward += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    made = _Clock()
    monkeypatch.setattr(module, "time", made)
    return made


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "relay.toml").write_text(_TOML)
    (tmp_path / "rules.toml").write_text(PACS)
    return load(home=tmp_path)


@pytest.fixture
def book(settings: Settings, clock: _Clock) -> RuleBook:
    """Of a file that was there before."""
    made = RuleBook(settings)
    clock.forward = 0.0
    return made


def sends(book: RuleBook) -> list[list[str]]:
    return [rule.settings.send_to for rule in book.current().rules]


def write(settings: Settings, text: str) -> None:
    path = settings.rules_path
    assert path is not None
    path.write_text(text)


def test_a_file_is_taken_when_nobody_has_touched_it_for_a_second(
    settings: Settings, clock: _Clock, book: RuleBook
) -> None:
    """Half of a set of rules is one too."""
    write(settings, OTHER)
    assert sends(book) == [["pacs"]]
    clock.sleep(0.7)
    write(settings, OTHER + PACS)
    assert sends(book) == [["pacs"]]
    clock.sleep(1.1)
    assert sends(book) == [["other"], ["pacs"]]


def test_a_file_that_lay_there_unseen_is_taken_at_the_first_look(
    settings: Settings, clock: _Clock, book: RuleBook
) -> None:
    """What arrives an hour after the change goes by the rules of that hour."""
    write(settings, OTHER)
    clock.sleep(3600)
    assert sends(book) == [["other"]]


def test_a_clock_that_is_ahead_does_not_keep_a_file_out(
    settings: Settings, clock: _Clock, book: RuleBook
) -> None:
    """Two looks a second apart agree."""
    write(settings, OTHER)
    path = settings.rules_path
    assert path is not None
    os.utime(path, (time.time() + 9e6, time.time() + 9e6))
    assert sends(book) == [["pacs"]]
    clock.sleep(1.1)
    assert sends(book) == [["other"]]


@pytest.mark.parametrize("text", ["", "# to be written\n", "[[rules]]\nsend_to = [", None])
def test_no_rules_are_no_rules_to_put_in_force(
    settings: Settings, clock: _Clock, book: RuleBook, text: str | None
) -> None:
    """Without rules everything would go everywhere, as it arrived: those before stay; and none begin with it."""
    path = settings.rules_path
    assert path is not None
    path.unlink()
    if text is not None:
        path.write_text(text)
    for _ in range(2):
        assert sends(book) == [["pacs"]]
        clock.sleep(5)
    assert str(path) in book.refused
    with pytest.raises(ConfigurationError):
        RuleBook(settings)
    path.write_text(OTHER)
    clock.sleep(5)
    assert (sends(book), book.refused) == ([["other"]], "")


def test_what_is_written_while_it_is_read_is_read_again(
    settings: Settings, clock: _Clock, book: RuleBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read is of no file that was there."""
    write(settings, OTHER)
    clock.sleep(5)
    real = module.rule_set

    def meanwhile(given: Settings) -> object:
        found = real(given)
        monkeypatch.setattr(module, "rule_set", real)
        write(settings, PACS + OTHER)
        return found

    monkeypatch.setattr(module, "rule_set", meanwhile)
    assert sends(book) == [["pacs"]]
    clock.sleep(5)
    assert sends(book) == [["pacs"], ["other"]]


def test_a_start_waits_for_a_file_that_is_being_written(settings: Settings, clock: _Clock) -> None:
    """No longer than that."""
    RuleBook(settings)
    assert 1 <= clock.forward < 5
    RuleBook(settings)
    assert clock.forward < 5
