"""C-FIND at a gateway with real sockets and a real archive, by our own SCU."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from pydicom.dataset import Dataset

from archive import Archive
from chaos.instances import make_instances
from dicomrelay.dicom.query_models import PATIENT_ROOT, PATIENT_STUDY_ONLY, STUDY_ROOT
from dicomrelay.dicom.uids import VERIFICATION
from dicomrelay.dimse.fragments import CommandReceived
from dicomrelay.dimse.identifier import encode_identifier
from dicomrelay.dimse.identifier_buffer import MAX_IDENTIFIER_BYTES
from dicomrelay.dimse.messages import (
    CCancelRequest,
    CEchoRequest,
    CEchoResponse,
    CFindRequest,
    CFindResponse,
    Message,
)
from dicomrelay.dimse.query_keys import build_identifier, parse_key
from dicomrelay.errors import NoAcceptedContext, ServiceUnavailable
from dicomrelay.net.query_retrieve import Find
from dicomrelay.net.requestor import Association, RemoteAe, Timeouts
from dicomrelay.net.service import StoreReply
from dicomrelay.net.tls import requestor_context
from dicomrelay.ul.pdu import ExtendedNegotiation
from scp_gateway.archive_port import LazyArchive, Row
from tests.support.certificates import Authority
from tests.support.gateway import Running, running
from tests.support.queries import (
    ROOT,
    STUDIES,
    Series,
    Study,
    ask,
    associate,
    fill_archive,
    find,
    write_studies,
)

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
ALL_STUDIES = [study.number for study in STUDIES]


@dataclass
class Scene:
    """A gateway over an archive with all studies."""

    home: Path
    gateway: Running

    @property
    def remote(self) -> RemoteAe:
        return self.gateway.remote


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("query")
    fill_archive(folder / "home" / "archive", write_studies(folder / "in"))
    with running(folder / "home") as gateway:
        yield Scene(folder / "home", gateway)


@pytest.mark.parametrize(
    ("keys", "numbers"),
    [
        ([], ALL_STUDIES),
        (["PatientID=P1"], [1, 2]),
        (["PatientID=P?"], ALL_STUDIES),
        (["PatientID=p1"], []),
        (["PatientName=MÜLLER^JÖRG"], [1, 2]),
        (["PatientName=müller*"], [1, 2]),
        (["PatientName=SMITH*"], [3, 4, 6]),
        (["PatientName=SMITH^ANN"], [3]),
        (["PatientName=SMITH^ANN?"], [4]),
        (["PatientName=山田*"], [5]),
        (["PatientName=yamada^tarou"], [5]),
        (["AccessionNumber=A*"], [1, 2, 3]),
        (["AccessionNumber=A?"], [1, 2]),
        (["StudyDescription=HEAD*"], [1, 3, 5]),
        (["StudyDescription=*HEAD*"], [1, 3, 5]),
        (["StudyDate=20260102"], [1, 4, 6]),
        (["StudyDate=20260101-20260131"], [1, 4, 6]),
        (["StudyDate=20260103-"], [2, 5]),
        (["StudyDate=-20251231"], [3]),
        (["StudyDate=20260102", "StudyTime=0800-1100"], [1, 4]),
        (["StudyTime=-0800"], [2, 4]),
        (["StudyTime=101500"], [1]),
        (["ModalitiesInStudy=MR"], [1, 2, 5]),
        (["ModalitiesInStudy=CT\\US"], [1, 3, 4, 6]),
        (["ModalitiesInStudy=U*"], [4]),
        ([f"StudyInstanceUID={ROOT}.2\\{ROOT}.5\\{ROOT}.99"], [2, 5]),
        (["RetrieveAETitle=DICOMRELAY"], ALL_STUDIES),
        (["RetrieveAETitle=OTHER"], []),
        (["PatientID=P1", "ModalitiesInStudy=CT"], [1]),
    ],
)
@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT])
def test_studies_are_found_by_what_they_are(
    scene: Scene, keys: list[str], numbers: list[int], syntax: str
) -> None:
    """Single values, wildcards, ranges, lists of UIDs, in both transfer syntaxes (PS3.4 Section C.2.2.2)."""
    found = find(scene.remote, "QueryRetrieveLevel=STUDY", "StudyInstanceUID", *keys, syntaxes=[syntax])
    assert (found.numbers, found.status, found.ignores_keys) == (numbers, 0, False)


def test_answers_hold_what_was_asked_for(scene: Scene) -> None:
    """Counts, modalities and SOP classes of the study, and where to get it."""
    (answer,) = find(
        scene.remote, "QueryRetrieveLevel=STUDY", f"StudyInstanceUID={ROOT}.1", "PatientName", "StudyDescription",
        "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances", "ModalitiesInStudy", "SOPClassesInStudy",
        "InstanceAvailability", "ReferringPhysicianName",
    ).answers  # fmt: skip
    assert str(answer.PatientName) == "MÜLLER^JÖRG"
    assert (answer.NumberOfStudyRelatedSeries, answer.NumberOfStudyRelatedInstances) == (2, 5)
    assert sorted(answer.ModalitiesInStudy) == ["CT", "MR"]
    assert len(answer.SOPClassesInStudy) == 2
    assert (answer.RetrieveAETitle, answer.InstanceAvailability) == ("DICOMRELAY", "ONLINE")
    assert answer.SpecificCharacterSet == "ISO_IR 192"
    assert "ReferringPhysicianName" in answer
    assert not answer.ReferringPhysicianName


def test_the_hierarchy_is_gone_down(scene: Scene) -> None:
    """Patient, study, series, image, each with the unique keys above it."""
    patients = find(
        scene.remote, "QueryRetrieveLevel=PATIENT", "PatientID", "PatientName", "NumberOfPatientRelatedStudies",
        model=PATIENT_ROOT,
    )  # fmt: skip
    assert patients.values("PatientID") == ["P1", "P2", "P3", "P4", "P5"]
    assert patients.values("NumberOfPatientRelatedStudies") == ["1", "1", "1", "1", "2"]
    studies = find(
        scene.remote, "QueryRetrieveLevel=STUDY", "PatientID=P1", "StudyInstanceUID", model=PATIENT_ROOT
    )
    assert studies.numbers == [1, 2]
    series = find(
        scene.remote, "QueryRetrieveLevel=SERIES", "PatientID=P1", f"StudyInstanceUID={ROOT}.1", "Modality",
        "SeriesDescription", "NumberOfSeriesRelatedInstances", model=PATIENT_ROOT,
    )  # fmt: skip
    assert series.values("Modality") == ["CT", "MR"]
    assert series.values("NumberOfSeriesRelatedInstances") == ["2", "3"]
    assert series.values("SeriesInstanceUID") == [f"{ROOT}.1.1", f"{ROOT}.1.2"]
    images = find(
        scene.remote, "QueryRetrieveLevel=IMAGE", "PatientID=P1", f"StudyInstanceUID={ROOT}.1",
        f"SeriesInstanceUID={ROOT}.1.1", "InstanceNumber", "Rows", "SOPClassUID", model=PATIENT_ROOT,
    )  # fmt: skip
    assert images.values("SOPInstanceUID") == [f"{ROOT}.1.1.{number}" for number in (1, 2, 3)]
    assert images.values("InstanceNumber") == ["1", "2", "3"]
    assert images.values("Rows") == ["4", "4", "4"]
    of_another = find(
        scene.remote,
        "QueryRetrieveLevel=SERIES",
        "PatientID=P2",
        f"StudyInstanceUID={ROOT}.1",
        model=PATIENT_ROOT,
    )
    assert (of_another.answers, of_another.status) == ([], 0)


def test_the_retired_model_is_served(scene: Scene) -> None:
    """Patient/Study Only, down to the study."""
    found = find(
        scene.remote, "QueryRetrieveLevel=STUDY", "PatientID=P1", "StudyInstanceUID", model=PATIENT_STUDY_ONLY
    )
    assert found.numbers == [1, 2]


@pytest.mark.parametrize(
    ("keys", "offending"),
    [
        (["PatientID=P1"], 0x00080052),
        (["QueryRetrieveLevel=NOTHING"], 0x00080052),
        (["QueryRetrieveLevel=PATIENT"], 0x00080052),
        (["QueryRetrieveLevel=SERIES"], 0x0020000D),
        (["QueryRetrieveLevel=IMAGE", f"StudyInstanceUID={ROOT}.1"], 0x0020000E),
        (["QueryRetrieveLevel=SERIES", f"StudyInstanceUID={ROOT}.*"], 0x0020000D),
    ],
)
def test_what_does_not_fit_is_a900_and_the_association_lives_on(
    scene: Scene, keys: list[str], offending: int
) -> None:
    """With the element, and why; and the next question is answered (PS3.4 Table C.4-1)."""
    with associate(scene.remote) as association:
        found = ask(association, build_identifier(map(parse_key, keys)))
        assert (found.status, found.offending, found.answers) == (0xA900, (offending,), [])
        assert found.comment
        assert ask(association, _all_studies()).numbers == ALL_STUDIES


def test_relational_queries_want_to_be_agreed_on(scene: Scene) -> None:
    """Without: A900. With: images of all studies at once (PS3.4 Section C.5.1.1)."""
    keys = ("QueryRetrieveLevel=IMAGE", "PatientID=P1", "SOPInstanceUID")
    assert find(scene.remote, *keys).status == 0xA900
    assert find(scene.remote, *keys, extended=b"\x00").status == 0xA900
    agreed = find(scene.remote, *keys, extended=b"\x01\x00\x00\x00")
    assert agreed.extended == {STUDY_ROOT.find: b"\x01\x00\x00\x00"}
    assert (len(agreed.answers), agreed.status) == (6, 0)


def test_date_and_time_are_one_range_when_agreed(scene: Scene) -> None:
    """From the evening of one day to the morning of the third."""
    keys = (
        "QueryRetrieveLevel=STUDY",
        "StudyDate=20251231-20260102",
        "StudyTime=2300-1100",
        "StudyInstanceUID",
    )
    assert find(scene.remote, *keys).numbers == []  # apart: no time of day is after eleven and before
    assert find(scene.remote, *keys, extended=b"\x00\x01").numbers == [1, 3, 4]


def test_fuzzy_names_are_found_when_agreed(scene: Scene) -> None:
    """By how they sound, in any order (docs/design/archive-index.md)."""
    keys = ("QueryRetrieveLevel=STUDY", "PatientName=smyth ann", "StudyInstanceUID")
    assert find(scene.remote, *keys).numbers == []
    assert find(scene.remote, *keys, extended=b"\x00\x00\x01").numbers == [3, 4]


def test_keys_that_we_do_not_know_are_told(scene: Scene) -> None:
    """FF01, and the answers are those without them."""
    found = find(
        scene.remote, "QueryRetrieveLevel=STUDY", "StudyInstanceUID", "InstitutionName=NOWHERE",
        "RequestAttributesSequence[0].RequestedProcedureID=1",
    )  # fmt: skip
    assert (found.numbers, found.ignores_keys, found.status) == (ALL_STUDIES, True, 0)
    assert "InstitutionName" not in found.answers[0]


def test_what_the_index_has_not_is_looked_up(scene: Scene) -> None:
    """Sequences too: of a series one of its instances speaks (PS3.4 Section C.2.2.2.6)."""
    request = "RequestAttributesSequence[0]."
    series = ("QueryRetrieveLevel=SERIES", f"StudyInstanceUID={ROOT}.1", "SeriesInstanceUID")
    found = find(
        scene.remote, *series, f"{request}ScheduledProcedureStepID=S1.2", "ProtocolName", "PatientWeight"
    )
    (answer,) = found.answers
    assert not found.ignores_keys
    assert answer.SeriesInstanceUID == f"{ROOT}.1.2"
    assert answer.RequestAttributesSequence[0].ScheduledProcedureStepID == "S1.2"
    assert "RequestedProcedureID" not in answer.RequestAttributesSequence[0]
    assert (answer.ProtocolName, answer.PatientWeight) == ("SCHÄDEL", 70.5)
    whole = find(scene.remote, *series, "RequestAttributesSequence")
    assert sorted(each.RequestAttributesSequence[0].RequestedProcedureID for each in whole.answers) == [
        "R1",
        "R1",
    ]
    assert find(scene.remote, *series, f"{request}ScheduledProcedureStepID=S9").answers == []
    latin = build_identifier(map(parse_key, [*series, "ProtocolName=SCH*"]))
    latin.SpecificCharacterSet = "ISO_IR 100"
    with associate(scene.remote) as association:
        found = ask(association, latin)
    assert found.values("ProtocolName") == ["SCHÄDEL"] * 2
    assert {each.SpecificCharacterSet for each in found.answers} == {"ISO_IR 100"}


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("ISO_IR 100", "ISO_IR 100"),
        ("ISO_IR 192", "ISO_IR 192"),
        ("ISO_IR 144", "ISO_IR 192"),
        ("", "ISO_IR 192"),
    ],
)
def test_both_directions_speak_the_character_set_of_the_request(
    scene: Scene, asked: str, answered: str
) -> None:
    """And UTF-8 where it cannot hold the name; a key in it is understood."""
    identifier = build_identifier(map(parse_key, ["QueryRetrieveLevel=STUDY", "PatientName", "PatientID=P1"]))
    if asked:
        identifier.SpecificCharacterSet = asked
    if asked in ("ISO_IR 100", "ISO_IR 192"):
        identifier.PatientName = "MÜLLER^*"
    with associate(scene.remote) as association:
        found = ask(association, identifier)
    assert found.values("PatientName") == ["MÜLLER^JÖRG"] * 2
    assert {answer.SpecificCharacterSet for answer in found.answers} == {answered}


def test_japanese_by_code_extensions(scene: Scene) -> None:
    """ISO 2022 IR 87, as the image itself is in."""
    identifier = build_identifier(map(parse_key, ["QueryRetrieveLevel=STUDY", "PatientName=*山田*"]))
    identifier.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
    with associate(scene.remote) as association:
        (answer,) = ask(association, identifier).answers
    assert str(answer.PatientName) == "Yamada^Tarou=山田^太郎=やまだ^たろう"
    assert list(answer.SpecificCharacterSet) == ["", "ISO 2022 IR 87"]


def test_eight_hundred_answers_are_each_of_another_instance(tmp_path: Path) -> None:
    """Many sends, pages and handfuls: nothing is lost and nothing comes twice."""
    paths = write_studies(tmp_path / "in", [_big(number) for number in range(1, 9)])
    fill_archive(tmp_path / "home" / "archive", paths)
    identifier = _all_images()
    with running(tmp_path / "home") as gateway, associate(gateway.remote, extended=b"\x01") as association:
        whole = ask(association, identifier)
        assert (len(whole.answers), whole.status) == (len(paths), 0)
        assert len(set(whole.values("SOPInstanceUID"))) == len(paths)


@pytest.mark.parametrize("is_secure", [False, True])
def test_a_cancel_in_flight_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_secure: bool) -> None:
    """FE00, though the index does not go on; and the association does (PS3.7 Section 9.3.2.3). Under TLS too."""
    fill_archive(tmp_path / "home" / "archive", write_studies(tmp_path / "in"))
    goes_on = threading.Event()
    really = LazyArchive.rows

    def slow(self: LazyArchive, *arguments: Any, **options: Any) -> Iterator[Row]:
        rows = really(self, *arguments, **options)
        yield from islice(rows, 5)
        assert goes_on.wait(60)
        yield from rows

    monkeypatch.setattr(LazyArchive, "rows", slow)
    (tmp_path / "ca").mkdir()
    authority = Authority(tmp_path / "ca")
    secured = {"tls": authority.acceptor(authority.issue("us"))} if is_secure else {}
    identifier = _all_images()
    with (
        running(tmp_path / "home", **secured) as gateway,
        Association.request(
            gateway.remote,
            calling_ae_title="TEST",
            contexts=[(STUDY_ROOT.find, (EXPLICIT,))],
            tls=requestor_context(authority.requestor()) if is_secure else None,
            extended=[ExtendedNegotiation(STUDY_ROOT.find, b"\x01")],
        ) as association,
    ):
        asked = Find(association, STUDY_ROOT, identifier, limit=3)
        assert len(list(asked)) == 3
        assert asked.conclusion is not None
        assert asked.conclusion.status == 0xFE00
        goes_on.set()
        assert ask(association, identifier).status == 0


def test_over_the_limit_what_was_found_is_given(tmp_path: Path) -> None:
    """And A700 says that there is more."""
    fill_archive(tmp_path / "home" / "archive", write_studies(tmp_path / "in"))
    with running(tmp_path / "home", sections={"query": {"max_answers": 4}}) as gateway:
        found = find(gateway.remote, "QueryRetrieveLevel=STUDY", "StudyInstanceUID")
        assert (len(found.answers), found.status) == (4, 0xA700)
        assert found.comment == "more than 4 matches, ask for less"
        assert find(gateway.remote, "QueryRetrieveLevel=STUDY", "PatientID=P1").status == 0


def test_an_index_that_is_away_costs_the_question_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A700; the association goes on, instances are stored meanwhile, and the index comes back."""
    fill_archive(tmp_path / "home" / "archive", write_studies(tmp_path / "in"))
    really = Archive.open
    is_away = True

    def opened(root: Path, **options: Any) -> Archive:
        if is_away:
            raise ServiceUnavailable("the index does not answer")
        return really(root, **options)

    monkeypatch.setattr(Archive, "open", opened)
    first = next(make_instances(tmp_path, 1))
    with running(tmp_path / "home") as gateway:
        contexts = [
            (STUDY_ROOT.find, (EXPLICIT,)),
            (first.item.sop_class_uid, (first.item.transfer_syntax_uid,)),
        ]
        with Association.request(gateway.remote, calling_ae_title="TEST", contexts=contexts) as association:
            found = ask(association, _all_studies())
            assert (found.status, found.answers) == (0xA700, [])
            assert "index" in found.comment
            assert association.store(first.item) == StoreReply(0)
            is_away = False
            assert ask(association, _all_studies()).numbers == ALL_STUDIES


def test_a_damaged_index_costs_the_question_alone(tmp_path: Path) -> None:
    """Not a word of it is trusted, and storing goes on."""
    fill_archive(tmp_path / "home" / "archive", write_studies(tmp_path / "in", STUDIES[:1]))
    for path in (tmp_path / "home" / "archive").glob("index.sqlite*"):
        path.write_bytes(os.urandom(65_536))
    first = next(make_instances(tmp_path, 1))
    with running(tmp_path / "home") as gateway:
        contexts = [
            (STUDY_ROOT.find, (EXPLICIT,)),
            (first.item.sop_class_uid, (first.item.transfer_syntax_uid,)),
        ]
        with Association.request(gateway.remote, calling_ae_title="TEST", contexts=contexts) as association:
            assert ask(association, _all_studies()).status in (0xA700, 0xC000)
            assert association.store(first.item) == StoreReply(0)


def test_what_is_no_identifier_is_a_status(scene: Scene) -> None:
    """Nothing, garbage, cut off, and over the limit; the association lives on."""
    with associate(scene.remote, syntaxes=[EXPLICIT]) as association:
        context_id = association.accepted[STUDY_ROOT.find, EXPLICIT]
        for raw in (
            None,
            b"\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\x08\x00\x52\x00CS\x06\x00STU",
            bytes(MAX_IDENTIFIER_BYTES + 2),
        ):
            response = _raw(association, context_id, raw)
            assert response.status == 0xC000
            assert response.error_comment
        assert ask(association, _all_studies()).numbers == ALL_STUDIES


def test_a_cancel_of_nothing_is_passed_over(scene: Scene) -> None:
    """It came too late (PS3.7 Section 9.3.2.3)."""
    with associate(scene.remote, syntaxes=[EXPLICIT]) as association:
        context_id = association.accepted[STUDY_ROOT.find, EXPLICIT]
        association.send_message(CCancelRequest(99), context_id)
        assert ask(association, _all_studies()).numbers == ALL_STUDIES


def test_a_peer_that_goes_in_the_middle_takes_nothing_with_it(scene: Scene) -> None:
    """The gateway forgets the question and answers the next peer."""
    for _ in range(5):
        association = associate(scene.remote)
        answers = iter(Find(association, STUDY_ROOT, _all_studies()))
        next(answers)
        association.abort()
        del answers
    assert find(scene.remote, "QueryRetrieveLevel=STUDY", "StudyInstanceUID").numbers == ALL_STUDIES


def test_questions_side_by_side(scene: Scene) -> None:
    """Sixteen associations at once, each with its own answers."""
    failures: list[object] = []

    def asking(number: int) -> None:
        study = STUDIES[number % len(STUDIES)]
        for _ in range(5):
            found = find(
                scene.remote, "QueryRetrieveLevel=STUDY", f"StudyInstanceUID={study.uid}", "PatientID"
            )
            if found.numbers != [study.number] or found.values("PatientID") != [study.patient_id]:
                failures.append(found)

    threads = [threading.Thread(target=asking, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures


def test_a_peer_without_the_right_gets_no_context(tmp_path: Path) -> None:
    """Its modality may store and not look; the workstation may look and not store; both may ask whether we are there."""
    fill_archive(tmp_path / "home" / "archive", write_studies(tmp_path / "in"))
    first = next(make_instances(tmp_path, 1))
    peers = [
        {"ae_title": "WORKSTATION", "host": "127.0.0.1", "rights": ["query"]},
        {"ae_title": "CT", "host": "127.0.0.1"},
        {"ae_title": "NOBODY", "host": "127.0.0.1", "rights": []},
    ]
    store_context = (first.item.sop_class_uid, (first.item.transfer_syntax_uid,))
    verification = ("1.2.840.10008.1.1", (IMPLICIT,))
    with running(tmp_path / "home", peers=peers) as gateway:

        def accepted(ae_title: str) -> set[str]:
            contexts = [(STUDY_ROOT.find, (EXPLICIT,)), store_context, verification]
            with Association.request(
                gateway.remote, calling_ae_title=ae_title, contexts=contexts
            ) as association:
                assert association.echo() == 0
                return {uid for uid, _ in association.accepted}

        assert accepted("WORKSTATION") == {STUDY_ROOT.find, verification[0]}
        assert accepted("CT") == {first.item.sop_class_uid, verification[0]}
        assert accepted("NOBODY") == {verification[0]}
        found = find(gateway.remote, "QueryRetrieveLevel=STUDY", calling_ae_title="WORKSTATION")
        assert len(found.answers) == len(STUDIES)
        with pytest.raises(NoAcceptedContext):
            find(gateway.remote, "QueryRetrieveLevel=STUDY", calling_ae_title="CT")


def test_a_question_in_a_context_of_another_kind_is_0124(tmp_path: Path) -> None:
    """A peer that may store asks in the context that it has: not authorised, and it may go on storing."""
    first = next(make_instances(tmp_path, 1))
    peers = [{"ae_title": "CT", "host": "127.0.0.1", "rights": ["store"]}]
    syntax = first.item.transfer_syntax_uid
    with (
        running(tmp_path / "home", peers=peers) as gateway,
        Association.request(
            gateway.remote, calling_ae_title="CT", contexts=[(first.item.sop_class_uid, (syntax,))]
        ) as association,
    ):
        response = _raw(association, association.accepted[first.item.sop_class_uid, syntax], b"\0" * 8)
        assert response.status == 0x0124
        assert association.store(first.item) == StoreReply(0)


def test_no_key_and_no_answer_is_in_the_log(scene: Scene, capfd: pytest.CaptureFixture[str]) -> None:
    """Whatever became of the question; UIDs and AE titles may be."""
    capfd.readouterr()
    marked = "MARKED^PATIENT"
    assert find(scene.remote, "QueryRetrieveLevel=STUDY", f"PatientName={marked}").status == 0
    assert find(scene.remote, "QueryRetrieveLevel=STUDY", "PatientName=MÜLLER*").status == 0
    assert find(scene.remote, "QueryRetrieveLevel=STUDY", f"StudyInstanceUID={marked}").status == 0xA900
    assert find(scene.remote, f"QueryRetrieveLevel={marked}").status == 0xA900
    identifier = build_identifier(map(parse_key, ["QueryRetrieveLevel=STUDY", f"PatientID={marked}"]))
    with associate(scene.remote, syntaxes=[EXPLICIT]) as association:
        raw = encode_identifier(identifier, EXPLICIT)
        assert _raw(association, association.accepted[STUDY_ROOT.find, EXPLICIT], raw[:-3]).status == 0xC000
    said = "".join(capfd.readouterr())
    assert "query.answered" in said
    assert "A900" in said
    assert "query_level=STUDY" in said
    for secret in ("MARKED", "MÜLLER", "JÖRG"):
        assert secret not in said


def test_without_an_archive_nothing_is_asked(tmp_path: Path) -> None:
    """`archive.enabled = false`: the context is not supported."""
    with (
        running(tmp_path / "home", sections={"archive": {"enabled": False}}) as gateway,
        pytest.raises(NoAcceptedContext),
    ):
        find(gateway.remote, "QueryRetrieveLevel=STUDY")
    shutil.rmtree(tmp_path / "home")


def test_with_a_window_others_are_answered_between_two_answers(tmp_path: Path) -> None:
    """An echo does not wait for the last of eight hundred answers (PS3.7 Annex D.3.3.3)."""
    paths = write_studies(tmp_path / "in", [_big(number) for number in range(1, 9)])
    fill_archive(tmp_path / "home" / "archive", paths)
    identifier = _all_images()
    contexts = [(STUDY_ROOT.find, (EXPLICIT,)), (VERIFICATION, (IMPLICIT,))]
    with (
        running(tmp_path / "home") as gateway,
        Association.request(
            gateway.remote,
            calling_ae_title="TEST",
            contexts=contexts,
            extended=[ExtendedNegotiation(STUDY_ROOT.find, b"\x01")],
            window=4,
        ) as association,
    ):
        assert association.window == 4
        raw = encode_identifier(identifier, EXPLICIT)
        number = association.next_message_id()
        asked = CFindRequest(number, STUDY_ROOT.find)
        association.send_message(asked, association.accepted[STUDY_ROOT.find, EXPLICIT], raw)
        echo = CEchoRequest(association.next_message_id(), VERIFICATION)
        association.send_message(echo, association.accepted[VERIFICATION, IMPLICIT])
        responses = list(_responses(association, number))
    echoes = [place for place, each in enumerate(responses) if isinstance(each, CEchoResponse)]
    assert len(responses) == len(paths) + 2
    assert len(echoes) == 1
    assert echoes[0] < len(responses) - 1


def _all_studies() -> Dataset:
    return build_identifier(map(parse_key, ["QueryRetrieveLevel=STUDY", "StudyInstanceUID"]))


def _all_images() -> Dataset:
    identifier = _all_studies()
    identifier.QueryRetrieveLevel = "IMAGE"
    identifier.SOPInstanceUID = ""
    return identifier


def _big(number: int) -> Study:
    series = [Series("CT", 50) for _ in range(2)]
    return Study(number, f"B{number}", f"BIG^{number}", "20260101", "120000", f"C{number}", "BIG", series)


def _raw(association: Association, context_id: int, identifier: bytes | None) -> CFindResponse:
    """A C-FIND with any bytes, and its one response."""
    request = CFindRequest(association.next_message_id(), STUDY_ROOT.find)
    association.send_message(request, context_id, identifier)
    deadline = monotonic() + Timeouts(response_s=20).response_s
    while True:
        for part in association.receive(list, deadline=deadline, wake_at=deadline) or ():
            assert isinstance(part, CommandReceived)
            assert isinstance(part.message, CFindResponse)
            return part.message


def _responses(association: Association, message_id: int) -> Iterator[Message]:
    """All responses up to the last one to that request."""
    deadline = monotonic() + 30
    while True:
        for part in association.receive(list, deadline=deadline, wake_at=deadline) or ():
            if not isinstance(part, CommandReceived):
                continue
            yield part.message
            if isinstance(part.message, CFindResponse) and part.message.status == 0:
                assert part.message.message_id_being_responded_to == message_id
                return
