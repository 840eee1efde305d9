"""`dicomrelay sop-classes` and `transfer-syntaxes`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dicomrelay.cli import sop_classes, transfer_syntaxes
from dicomrelay.dicom.sop_classes import storage_sop_classes
from dicomrelay.errors import ConfigurationError


@pytest.fixture
def home(tmp_path: Path) -> str:
    return f"--home={tmp_path}"


def run(command: object, *words: str) -> Result:
    result = CliRunner().invoke(command, [*words], standalone_mode=False)  # type: ignore[arg-type]
    if result.exception:
        raise result.exception
    return result


def test_all_are_listed_by_category(home: str) -> None:
    """A line each under a heading; the count goes to standard error."""
    listed = run(sop_classes.command, home)

    uids = [line.split()[0] for line in listed.stdout.splitlines() if line.startswith("  ")]
    assert sorted(uids) == sorted(storage_sop_classes())
    assert "CT (ct, 3)\n  1.2.840.10008.5.1.4.1.1.2" in listed.stdout
    assert f"{len(uids)} storage SOP classes" in listed.stderr


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["enhanced", "mr"], ["Enhanced MR Image Storage", "Enhanced MR Color Image Storage"]),
        (["1.2.840.10008.5.1.4.1.1.2"], ["CT Image Storage"]),
        (["88.59"], ["Key Object Selection Document Storage"]),
        (["--category", "video", "ENDO"], ["Video Endoscopic Image Storage"]),
        (["--retired", "--category", "ultrasound", "multi"], ["Ultrasound Multi-frame Image Storage"]),
    ],
)
def test_words_choose_by_uid_and_name(home: str, words: list[str], names: list[str]) -> None:
    """Every word must fit."""
    rows = json.loads(run(sop_classes.command, home, "--json", *words).stdout)

    assert sorted(set(names) & {row["name"] for row in rows}) == sorted(names)
    assert {row["retired"] for row in rows} <= ({True} if "--retired" in words else {False, True})


def test_a_number_is_no_part_of_another_one(home: str) -> None:
    """1.2.840.10008.1.2.4.9 is not the beginning of 4.90."""
    assert run(transfer_syntaxes.command, home, "4.9").return_value == 1
    rows = json.loads(run(transfer_syntaxes.command, home, "--json", "4.90").stdout)
    assert [row["name"] for row in rows] == ["JPEG 2000 Image Compression (Lossless Only)"]


def test_a_category_that_is_none_is_a_mistake_with_the_list(home: str) -> None:
    """The message has what could be meant."""
    with pytest.raises(ConfigurationError, match=r"'mrt'.*mr, .*ultrasound"):
        run(sop_classes.command, home, "--category", "mrt")
    assert run(transfer_syntaxes.command, home, "--category", "private").return_value == 1


def test_private_sop_classes_of_the_settings_are_listed_too(tmp_path: Path) -> None:
    """As the setting names them, patterns too."""
    config = tmp_path / "relay.toml"
    config.write_text('[gateway]\nprivate_sop_classes = ["1.3.46.670589.*"]\n', "utf-8")
    rows = run(
        sop_classes.command, f"--home={tmp_path}", f"--config={config}", "--category", "private", "--json"
    )

    assert [row["uid"] for row in json.loads(rows.stdout)] == ["1.3.46.670589.*"]
