"""Strings that climb, inject or overflow, through every entry that is no DICOM association (those: tests/hardening).

Each is taken as the text that it is, or refused in words; no file outside the home, no program, no other row of a table.
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import pytest
from click.testing import CliRunner
from pydantic import ValidationError
from pydicom import config
from pydicom.dataset import Dataset

from archive.attributes import Level
from dicomrelay.cli.main import cli
from dicomrelay.dicom.wildcards import Wildcards
from dicomrelay.errors import RelayError
from dicomrelay.ledger.migrate import migrate
from dicomrelay.routing import Facts, decide, matches
from dicomrelay.runtime import home as homes
from dicomrelay.scheduling.performed_steps import PerformedSteps
from dicomrelay.scheduling.worklist_files import Kind, read_bytes
from dicomrelay.scheduling.worklist_item import Item
from dicomrelay.scheduling.worklist_query import WrongKey, read_question
from dicomrelay.settings import DestinationSettings, RuleCondition, RuleSettings, Settings
from scp_gateway.web_intake import WebIntake
from streamer.answers import HttpError
from streamer.search_query import asked
from streamer.stow.road import Stow
from tests.support.data_sets import CT_IMAGE_STORAGE, ENCODERS, EXPLICIT
from tests.support.evil_strings import EVIL
from tests.support.performed import created, message
from tests.support.stow import MULTIPART, body_of, part10, settings_of
from tests.support.watch import watched
from tests.support.worklist import step, worklist_of

T = TypeVar("T")
OURS = re.compile(r"[0-9a-z-]+\.(dcm|part|json)")
# A NUL or half of a pair can be in no argument of a process, and in no UTF-8.
SAYABLE = [text for text in EVIL if "\0" not in text and text.isprintable() and not text.startswith("-")]
SOME = SAYABLE[::6]


def _ledger(settings: Settings) -> Path:
    return Path(homes.ledger_url(settings).removeprefix("sqlite:///"))


def _or_words(call: Callable[[], T], *refusals: type[Exception]) -> T | None:
    """What comes of it; None where it is refused, with words."""
    try:
        return call()
    except refusals as error:
        refusal = error
    assert str(refusal)
    return None


def _tables(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as database:
        return {name for (name,) in database.execute("SELECT name FROM sqlite_master")}


def test_the_watch_sees_what_it_is_there_for(tmp_path: Path) -> None:
    """A control: a file, a folder, a link and a program of somebody else are all seen."""
    (tmp_path / "home").mkdir()
    with watched() as watch:
        (tmp_path / "home" / "x").write_text("")
        (tmp_path / "y").write_text("")
        (tmp_path / "z").mkdir()
        (tmp_path / "l").symlink_to("/etc/passwd")
        os.open(tmp_path / "o", os.O_CREAT | os.O_WRONLY)
        subprocess.run([sys.executable, "-c", ""], check=True)
    assert {path.name for path in watch.outside(tmp_path / "home")} >= {"y", "z", "o"}
    assert watch.runs


def test_store_requests_of_the_web(tmp_path: Path) -> None:
    """Every UID and the patient, in a part of a STOW request: a name of ours in the spool, or an answer that says why."""
    settings = settings_of(tmp_path / "home")
    element = ENCODERS[EXPLICIT].element
    files = []
    for number, text in enumerate(EVIL):
        raw = text.encode("utf-8", "surrogatepass")[:1000]
        raw += b" " * (len(raw) & 1)
        uid = f"1.2.826.7.{number}"
        values = {0x00080018: uid.encode(), 0x0020000D: b"1.2.3", 0x0020000E: b"1.2.4", 0x00100020: b"P"}
        for place, tag in enumerate(values):
            if (
                number + place
            ) % 2:  # half of them: each string in two fields, each field with half of the strings
                continue
            given = {**values, tag: raw}
            data_set = element(0x00080016, b"UI", CT_IMAGE_STORAGE.encode()) + b"".join(
                element(each, b"LO" if each == 0x00100020 else b"UI", given[each])
                for each in (0x00080018, 0x00100020, 0x0020000D, 0x0020000E)
            )
            files.append(part10(f"{uid}.{tag}", data_set=data_set))
    sent: list[dict[str, Any]] = []
    coming = [{"type": "http.request", "body": body_of(files), "more_body": False}]
    scope: dict[str, Any] = {
        "type": "http", "method": "POST", "path": "/studies", "scheme": "http", "query_string": b"",
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
        "headers": [(b"content-type", MULTIPART["content-type"].encode()), (b"host", b"localhost")],
    }  # fmt: skip

    async def receive() -> dict[str, Any]:
        return coming.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    with (
        closing(WebIntake(settings, wake=lambda: None)) as intake,
        closing(Stow(settings, intake)) as stow,
        watched() as watch,
    ):
        asyncio.run(stow(scope, receive, send))  # type: ignore[arg-type]
    answer = json.loads(b"".join(each.get("body", b"") for each in sent))
    told = sum(len(answer.get(tag, {"Value": []})["Value"]) for tag in ("00081198", "00081199", "0008119A"))
    assert told == len(files), answer
    assert watch.outside(tmp_path / "home") == []
    assert watch.runs == []
    assert all(
        OURS.fullmatch(path.name) for path in (tmp_path / "home/spool/new").iterdir() if path.is_file()
    )
    assert {path.name for path in tmp_path.iterdir()} == {"home"}


def _orders(text: str, number: int) -> dict[Kind, bytes]:
    """An order in every kind of file but DICOM: the text as patient, and in one of three as UID and AE title too."""
    study, station = (text, text) if number % 3 == 0 else (f"1.2.9.{number}", "CT_1")
    fields = {
        "PatientID": text, "PatientName": text, "AccessionNumber": f"A{number}", "StudyInstanceUID": study,
        "Modality": "CT", "ScheduledStationAETitle": station, "ScheduledProcedureStepStartDate": "20261123",
        "ScheduledProcedureStepStartTime": "0800", "ScheduledProcedureStepID": f"S{number}",
        "RequestedProcedureID": f"R{number}", "RequestedProcedureDescription": text,
    }  # fmt: skip
    sheet = io.StringIO()
    writer = csv.writer(sheet)
    writer.writerows([fields.keys(), fields.values()])
    hl7 = (
        "MSH|^~\\&|RIS|CLINIC|RELAY|CLINIC|20261122||ORM^O01|1|P|2.3.1\r"
        f"PID|1||{text}||{text}||19700101|M\rORC|NW|PL{number}^RIS|FI{number}^RIS||||1^^^202611230830^^S\r"
        f"OBR|1|PL{number}^RIS|FI{number}^RIS|CTH^{text}^99X||||||||||||||A{number}|R{number}|S{number}||||CT\r"
        f"ZDS|{study}^RIS^A^DICOM"
    )
    return {
        Kind.JSON: json.dumps([fields]).encode(),
        Kind.CSV: sheet.getvalue().encode("utf-8", "surrogatepass"),
        Kind.HL7: hl7.encode("utf-8", "surrogatepass"),
    }


@pytest.mark.filterwarnings(
    "ignore:The 'warn' method is deprecated:DeprecationWarning"
)  # of hl7's own log, which is off
def test_orders_of_the_worklist_and_questions_about_it(tmp_path: Path) -> None:
    """JSON, CSV and HL7 v2: refused in words, or found again as the text that it was, and by no other's key."""
    settings = Settings(home=tmp_path / "home")
    with worklist_of(settings) as worklist, watched() as watch:
        before = _tables(_ledger(settings))
        expected: dict[tuple[str, str], str] = {}
        for number, text in enumerate(EVIL):
            items = []
            for kind, raw in _orders(text, number).items():
                found = _or_words(
                    lambda raw=raw, kind=kind: read_bytes(raw, kind, {"CT": "CT_1"}), RelayError
                )
                if found is not None:
                    items += [item for record in found for item in record.items]
                    assert any(record.items or record.faults or record.key for record in found), (kind, text)
            worklist.put(items)
            for item in items:
                key = item.text("StudyInstanceUID"), item.of_step("ScheduledProcedureStepID")
                expected[key] = item.text("PatientID")
        kept = [Item(entry.data_set) for entry, _ in worklist.find()]
        assert sorted(item.text("PatientID") for item in kept) == sorted(expected.values())
        assert len(kept) > 20
        # What a data set or an address holds is decoded before it is asked for: no half of a pair is left.
        for text in (each.encode("utf-8", "replace").decode() for each in EVIL):
            with config.disable_value_validation():
                question = step(1, PatientID=text, PatientName=None, step_ScheduledStationAETitle=None)
            read = _or_words(lambda question=question: read_question(question), WrongKey)
            hits = (
                []
                if read is None
                else [Item(entry.data_set).text("PatientID") for entry, _ in worklist.find(read)]
            )
            if not set(text) & set("*?\\"):
                assert set(hits) <= {text, text.strip(" \0")}, (text, hits)
        assert _tables(_ledger(settings)) == before
    assert watch.outside(tmp_path / "home") == []
    assert watch.runs == []


def test_performed_procedure_steps(tmp_path: Path) -> None:
    """What modalities say: refused with a status, or given back to N-GET as it came."""
    settings = Settings(home=tmp_path / "home")
    homes.prepare(settings)
    url = homes.ledger_url(settings)
    migrate(url)
    steps = PerformedSteps.open(url)
    kept = 0
    try:
        with watched() as watch:
            before = _tables(_ledger(settings))
            for number, text in enumerate(EVIL[::2]):
                with config.disable_value_validation():
                    said = created(
                        PatientName=text,
                        PatientID=text,
                        PerformedProcedureStepID=text,
                        PerformedStationAETitle=text,
                    )
                made = _or_words(
                    lambda said=said, number=number: steps.create(message(said, f"1.2.9.{number}")) or True,
                    RelayError, UnicodeEncodeError,
                )  # fmt: skip
                if made is None:
                    continue
                kept += 1
                given: Dataset = steps.attributes(f"1.2.9.{number}")
                assert str(given.PatientID).strip(" \0") == text.strip(" \0") or "\\" in text, text
            assert len(steps.steps(limit=10_000)) == kept
            assert _tables(_ledger(settings)) == before
    finally:
        steps.dispose()
    assert kept > len(EVIL) // 4
    assert watch.outside(tmp_path / "home") == []
    assert watch.runs == []


def test_rules_are_patterns_and_no_code() -> None:
    """As pattern, as regular expression and as value of an instance: a decision or a refusal; a text fits itself as a pattern."""
    pacs = DestinationSettings(name="pacs", ae_title="PACS", host="10.0.0.9")
    with watched() as watch:
        for text in EVIL:
            facts = Facts(modality=text, source_ae_title=text, called_ae_title=text, sop_class_uid=text)
            for when in (
                {"source_ae_title": text},
                {"attributes": {"StudyDescription": text}},
                {"attributes": {"StudyDescription": {"regex": text}}},
                {"attributes": {text: "x"}},
                {"peer": text},
                {"time": [text]},
            ):
                condition = _or_words(
                    lambda when=when: RuleCondition.model_validate(when), ValidationError, RelayError
                )
                if condition is None:
                    continue
                rule = RuleSettings(when=condition, send_to=["pacs"])
                _or_words(
                    lambda rule=rule, facts=facts: decide([rule], [pacs], facts), RelayError, ValueError
                )
                if "source_ae_title" in when:
                    assert matches(condition, facts), text
    assert watch.runs == []
    assert watch.touched == []


def test_a_pattern_of_stars_takes_no_time() -> None:
    """Whatever a peer chooses as its AE title and whatever stands in a rule: at most pattern times text."""
    assert not Wildcards("*a" * 30 + "b").matches("a" * 5000)


@pytest.mark.parametrize(
    "name", ["PatientName", "StudyInstanceUID", "limit", "offset", "includefield", "fuzzymatching"]
)
def test_searches_of_the_web(name: str) -> None:
    """As value and as name of a parameter: a search, or 400 in words; never another parameter's."""
    for text in EVIL:
        for pairs in ([(name, text)], [(text, "x")]):
            found = _or_words(lambda pairs=pairs: asked(Level.STUDY, pairs, {}), HttpError)
            if found is None:
                continue
            if name == "limit" and pairs[0][0] == name:
                assert text.isdigit()


@pytest.mark.parametrize(
    "words",
    [
        ["trace"],
        ["jobs", "show"],
        ["destinations", "hold"],
        ["archive", "query", "--patient-id"],
        ["worklist", "show"],
        ["users", "remove"],
    ],
    ids=" ".join,
)
def test_arguments_of_commands(words: list[str], tmp_path: Path) -> None:
    """An exit code of the table and a sentence; no traceback, nothing outside the home."""
    home = tmp_path / "home"
    runner = CliRunner()
    with watched() as watch:
        for text in SOME:
            done = runner.invoke(cli, [*words, text, "--home", str(home)], standalone_mode=False)
            error = done.exception
            assert (
                error is None
                or isinstance(error, RelayError | SystemExit)
                or type(error).__module__.startswith("click.")
            ), (text, error)
    assert watch.outside(home) == []
    assert watch.runs == []
    assert {path.name for path in tmp_path.iterdir()} <= {"home"}
