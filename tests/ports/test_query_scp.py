"""C-FIND over an index on SQLite and on PostgreSQL: the same answers; and a PostgreSQL that is frozen or gone."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import pytest

from chaos.instances import make_instances
from dicomrelay.dicom.query_models import PATIENT_ROOT, STUDY_ROOT
from dicomrelay.dimse.query_keys import build_identifier, parse_key
from dicomrelay.net.requestor import Association
from dicomrelay.net.service import StoreReply
from tests.support.gateway import Running, running
from tests.support.postgresql import PostgresqlServer, running_server
from tests.support.queries import ROOT, STUDIES, ask, fill_archive, find, write_studies

EXPLICIT = "1.2.840.10008.1.2.1"
ALL_STUDIES = [study.number for study in STUDIES]


@pytest.fixture
def gateway(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Running]:
    """Over an archive with all studies."""
    url = None if backend == "sqlite" else request.getfixturevalue("empty_url")
    fill_archive(tmp_path / "home" / "archive", write_studies(tmp_path / "in"), database_url=url)
    sections = {} if url is None else {"database": {"url": url}}
    with running(tmp_path / "home", sections=sections) as found:
        yield found


def test_both_databases_give_the_same_answers(gateway: Running) -> None:
    """Names by group and case, patterns, ranges, lists, modalities, counts, fuzzy names."""
    for keys, numbers in (
        ((), ALL_STUDIES),
        (("PatientName=müller*",), [1, 2]),
        (("PatientName=山田*",), [5]),
        (("PatientName=SMITH^ANN",), [3]),
        (("PatientID=P?", "ModalitiesInStudy=MR"), [1, 2, 5]),
        (("StudyDescription=HEAD*",), [1, 3, 5]),
        (("StudyDate=20260102", "StudyTime=0800-1100"), [1, 4]),
        ((f"StudyInstanceUID={ROOT}.2\\{ROOT}.5",), [2, 5]),
        (("ModalitiesInStudy=CT\\US",), [1, 3, 4, 6]),
    ):
        found = find(gateway.remote, "QueryRetrieveLevel=STUDY", "StudyInstanceUID", *keys)
        assert (keys, found.numbers, found.status) == (keys, numbers, 0)
    fuzzy = find(
        gateway.remote,
        "QueryRetrieveLevel=STUDY",
        "StudyInstanceUID",
        "PatientName=smyth ann",
        extended=b"\0\0\1",
    )
    assert fuzzy.numbers == [3, 4]
    patients = find(
        gateway.remote,
        "QueryRetrieveLevel=PATIENT",
        "PatientID",
        "NumberOfPatientRelatedInstances",
        model=PATIENT_ROOT,
    )
    assert patients.values("NumberOfPatientRelatedInstances") == ["1", "1", "2", "2", "6"]
    images = find(
        gateway.remote, "QueryRetrieveLevel=IMAGE", f"StudyInstanceUID={ROOT}.1", f"SeriesInstanceUID={ROOT}.1.1",
        "InstanceNumber=2", "SOPClassUID",
    )  # fmt: skip
    assert images.values("SOPInstanceUID") == [f"{ROOT}.1.1.2"]


@contextmanager
def _frozen(server: PostgresqlServer) -> Iterator[None]:
    """Every process of the server stands still: connections are open, and nothing answers."""
    (first,) = server.folder.joinpath("data", "postmaster.pid").read_text().split()[:1]
    children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
    processes = [int(first), *map(int, children)]
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            os.kill(process, signal.SIGCONT)


@pytest.mark.postgresql
def test_a_frozen_database_costs_the_question_its_time_and_nothing_else(tmp_path: Path) -> None:
    """A700 at the time limit, on the association that goes on; storing goes on meanwhile; and it thaws."""
    first, *more = (next(instances) for instances in [make_instances(tmp_path, 1)] for _ in range(20))
    with running_server() as server:
        url = server.create_database()
        fill_archive(tmp_path / "home" / "archive", write_studies(tmp_path / "in"), database_url=url)
        sections = {"database": {"url": url}, "query": {"timeout_s": 2}}
        contexts = [
            (STUDY_ROOT.find, (EXPLICIT,)),
            (first.item.sop_class_uid, (first.item.transfer_syntax_uid,)),
        ]
        identifier = build_identifier(map(parse_key, ["QueryRetrieveLevel=STUDY", "StudyInstanceUID"]))
        with (
            running(tmp_path / "home", sections=sections) as gateway,
            Association.request(gateway.remote, calling_ae_title="TEST", contexts=contexts) as association,
        ):
            assert ask(association, identifier).numbers == ALL_STUDIES
            with _frozen(server):
                began = monotonic()
                found = ask(association, identifier)
                assert (found.status, found.answers) == (0xA700, [])
                assert 1.5 < monotonic() - began < 6
                assert [association.store(each.item) for each in (first, *more)] == [StoreReply(0)] * 20
            assert ask(association, identifier).numbers == ALL_STUDIES


@pytest.mark.postgresql
def test_a_database_that_is_gone_is_said_at_once(tmp_path: Path) -> None:
    """A700 with the reason, again and again, and the association goes on."""
    with running_server() as server:
        url = server.create_database()
        fill_archive(tmp_path / "home" / "archive", write_studies(tmp_path / "in"), database_url=url)
    identifier = build_identifier(map(parse_key, ["QueryRetrieveLevel=STUDY", "StudyInstanceUID"]))
    with (
        running(tmp_path / "home", sections={"database": {"url": url}}) as gateway,
        Association.request(
            gateway.remote, calling_ae_title="TEST", contexts=[(STUDY_ROOT.find, (EXPLICIT,))]
        ) as association,
    ):
        for _ in range(3):
            began = monotonic()
            found = ask(association, identifier)
            assert (found.status, found.comment) == (
                0xA700,
                "the archive's index does not answer, ask again later",
            )
            assert monotonic() - began < 10
