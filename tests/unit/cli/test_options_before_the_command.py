"""An option that every command takes, written before the command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dicomrelay.cli.main import main
from tests.support.rooms import rooms_at


@pytest.mark.parametrize(
    ("option", "words"), [("--config", "--config goes behind the command"), ("--bogus", "No such option")]
)
def test_it_is_told_where_it_goes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], option: str, words: str
) -> None:
    """Exit code 2, as any wrong usage."""
    monkeypatch.setattr("sys.argv", ["dicomrelay", option, "x.toml", "status"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (("status", "--bogus"), "NoSuchOption"),
        (("jobs", "show"), "MissingParameter"),
        (("trace", "1.2.3"), "ConfigurationError"),
        (("report", "1.2.3"), "ConfigurationError"),
        (("jobs", "show", "1.2.3"), "ConfigurationError"),
        (("jobs", "hold", "--all"), "ConfigurationError"),
        (("destinations", "nowhere"), "ConfigurationError"),
    ],
)
def test_wrong_words_and_names_that_are_not_here_end_alike(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    words: tuple[str, ...],
    kind: str,
) -> None:
    """Exit code 2, and an object for machines too."""
    with rooms_at(tmp_path / "home"):
        capsys.readouterr()
        monkeypatch.setattr(
            "sys.argv", ["/somewhere/main.py", *words, "--home", str(tmp_path / "home"), "--json"]
        )
        with pytest.raises(SystemExit) as ended:
            main()
    said = capsys.readouterr()
    told = json.loads(said.out)
    assert ended.value.code == 2
    assert (told["kind"], told["exit_code"]) == (kind, 2)
    assert told["error"]
    assert "main.py" not in said.err
    assert ("destinations hold NAME" in told["error"]) == ("hold" in words)
