"""A source that can be asked says how many instances a study has: pynetdicom as the source."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind
from sqlalchemy import create_engine, text

from dicomrelay.runtime import home
from dicomrelay.runtime.ports import free_ports
from tests.support.rooms import rooms_at, spooled
from workers.complete import make_complete
from workers.count import ask_sources
from workers.group import group_arrivals
from workers.rooms import Rooms

_DESTINATION = '[[destinations]]\nname = "pacs"\nae_title = "PACS"\nhost = "127.0.0.1"\nport = 104\n'


@contextmanager
def source(answers: list[dict[str, Any]], status: int = 0x0000) -> Iterator[tuple[int, list[Dataset]]]:
    """An archive at the other end that gives these answers to any C-FIND; its port, and what it was asked."""
    asked: list[Dataset] = []

    def find(event: Any) -> Iterator[tuple[int, Dataset | None]]:
        asked.append(event.identifier)
        for answer in answers:
            data_set = Dataset()
            data_set.QueryRetrieveLevel = "STUDY"
            for name, value in answer.items():
                setattr(data_set, name, value)
            yield 0xFF00, data_set
        yield status, None

    (port,) = free_ports(1)
    ae = AE("CT")
    ae.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
    server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_FIND, find)])
    try:
        yield port, asked
    finally:
        server.shutdown()


@contextmanager
def waiting(folder: Path, port: int) -> Iterator[Rooms]:
    """Rooms with a study of two instances of that source, of which it is time to ask."""
    peers = f'[[peers]]\nae_title = "CT_1"\nquiet_seconds = 3600\ncount_at = "CT@127.0.0.1:{port}"\n'
    with rooms_at(folder, _DESTINATION + peers) as (rooms, _):
        for number in range(2):
            spooled(rooms, f"1.2.3.{number}")
        group_arrivals(rooms)
        assert ask_sources(rooms) == 0, "it is not time yet"
        engine = create_engine(home.ledger_url(rooms.settings))
        with engine.begin() as connection:
            connection.execute(text("UPDATE studies SET ask_at = 1"))
        engine.dispose()
        yield rooms


def test_a_study_is_complete_when_the_source_has_no_more(tmp_path: Path) -> None:
    """It is asked for this study, by its UID, at the STUDY level."""
    with (
        source([{"StudyInstanceUID": "1.2.3", "NumberOfStudyRelatedInstances": 2}]) as (port, asked),
        waiting(tmp_path / "home", port) as rooms,
    ):
        assert make_complete(rooms).transfers == 0
        assert ask_sources(rooms) == 1
        assert make_complete(rooms).transfers == 1
        (identifier,) = asked
        assert (identifier.QueryRetrieveLevel, identifier.StudyInstanceUID) == ("STUDY", "1.2.3")
        assert "NumberOfStudyRelatedInstances" in identifier


@pytest.mark.parametrize(
    ("answers", "status"),
    [
        ([{"StudyInstanceUID": "1.2.3", "NumberOfStudyRelatedInstances": 3}], 0x0000),  # one is to come
        ([{"StudyInstanceUID": "1.2.3"}], 0x0000),  # an optional key (PS3.4 Table C.6-5)
        ([{"StudyInstanceUID": "1.2.3", "NumberOfStudyRelatedInstances": 0}], 0x0000),
        ([{"StudyInstanceUID": "1.2.4", "NumberOfStudyRelatedInstances": 2}], 0x0000),  # of another study
        ([], 0x0000),
        ([], 0xA700),
    ],
)
def test_what_says_nothing_changes_nothing(
    tmp_path: Path, answers: list[dict[str, Any]], status: int
) -> None:
    """The quiet time counts."""
    with source(answers, status) as (port, _), waiting(tmp_path / "home", port) as rooms:
        ask_sources(rooms)
        assert make_complete(rooms).transfers == 0


def test_a_source_that_is_away_is_asked_again_later(tmp_path: Path) -> None:
    """And nothing else waits for it."""
    (port,) = free_ports(1)
    with waiting(tmp_path / "home", port) as rooms:
        assert ask_sources(rooms) == 0
        assert rooms.ledger.completion.to_ask(limit=10, again_in_ms=0) == []
