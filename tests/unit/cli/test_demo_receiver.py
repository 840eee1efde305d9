"""The demo's destination names its files as everybody does."""

from __future__ import annotations

from pathlib import Path

import pytest

from dicomrelay.cli.demo_receiver import keep
from tests.support.evil_strings import EVIL


@pytest.mark.parametrize("uid", ["1.2.3", "..", ".", *EVIL])
def test_a_uid_names_one_file_of_the_folder(tmp_path: Path, uid: str) -> None:
    """Nothing is hidden, and nothing lies elsewhere."""
    folder = tmp_path / "received"
    folder.mkdir()

    keep(folder, uid, b"bytes")

    (file,) = folder.iterdir()
    assert file.read_bytes() == b"bytes"
    assert file.suffix == ".dcm"
    assert not file.name.startswith(".")
    assert list(tmp_path.iterdir()) == [folder]
