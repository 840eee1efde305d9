"""The threat model names what is there: files, settings, listeners, checks."""

from __future__ import annotations

import re

from chaos.scorecard import FAULTS
from dicomrelay.settings import Settings
from tests.support.markdown import ROOT, table_rows

PAGE = ROOT / "docs" / "reference" / "threat-model.md"
TEXT = PAGE.read_text("utf-8")


def test_every_file_that_shows_something_is_there() -> None:
    """A test that was renamed shows nothing any more."""
    named = set(re.findall(r"`((?:tests|chaos|docs)/[\w/.-]+)`", TEXT))
    assert len(named) > 30
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_every_threat_has_something_that_shows_what_stands_in_its_way() -> None:
    """Rows are numbered once each, and end with a file."""
    rows = re.findall(r"^\| ([DHI]\d+) \|(.*)\|$", TEXT, re.MULTILINE)
    numbers = [number for number, _ in rows]
    assert len(numbers) == len(set(numbers)) > 20
    assert [number for number, row in rows if "`" not in row.rpartition("|")[2]] == []


def test_every_listener_stands_there_and_is_on_loopback() -> None:
    """Sections that have a host and a port to listen on."""
    listening = {
        name
        for name, field in Settings.model_fields.items()
        if {"host", "port"} <= set(getattr(field.annotation, "model_fields", ()))
    }
    stated = {row[1].strip("`[]") for row in table_rows(PAGE, "listener")}
    assert stated == listening | {"broker"}
    for name in listening:
        assert Settings.model_fields[name].default.host == "127.0.0.1"


def test_every_check_is_done_where_it_says() -> None:
    """The scorecard has those that the page says it has."""
    known = {fault.name for fault in FAULTS}
    for name, _, where in table_rows(PAGE, "check"):
        if "chaos/faults" in where:
            assert name in known, name
