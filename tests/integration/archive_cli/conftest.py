"""Fixtures of the tests of `dicomrelay archive`: a command with a home of its own, and an archive to look at."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.archive_command import ArchiveCommand, run_alone, sample_folder


@pytest.fixture
def relay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> ArchiveCommand:
    """`dicomrelay archive`, as the entry point runs it."""
    return ArchiveCommand(tmp_path / "home", monkeypatch, capsys)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive with all of pydicom's DICOMDIR studies: for those who only look, or copy it first."""
    folder = tmp_path_factory.mktemp("filled")
    for words in (
        ("init", "-p", folder / "archive"),
        ("import", sample_folder(), "-r", "-a", folder / "archive"),
    ):
        told = run_alone(folder / "home", *words)
        assert told.code == 0, told.err
    return folder / "archive"
