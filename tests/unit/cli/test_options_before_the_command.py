"""An option that every command takes, written before the command."""

from __future__ import annotations

import pytest

from dicomrelay.cli.main import main


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
