"""Edited copies on their way out: real files, real peers, and what the ledger says of them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset

from dicomrelay.cli.main import cli
from dicomrelay.delivery import Answer, Instance, Target, deliver
from dicomrelay.delivery.editing import EditBench
from dicomrelay.delivery.editing_child import edited_copy
from dicomrelay.dicom.part10 import parse_file_meta
from dicomrelay.dicom.scan import Header
from dicomrelay.dicom.status import Outcome
from dicomrelay.dicom.transfer_syntaxes import transfer_syntax
from dicomrelay.edits.values import BurnedIn, Profile
from dicomrelay.edits.wire import as_wire
from dicomrelay.errors import NotEditable, NotTranscodable
from dicomrelay.net.peer import RemotePeer
from dicomrelay.net.service import Acceptance
from dicomrelay.settings import TransferSyntaxPolicy, load
from dicomrelay.spool import Provenance, SpoolRecord
from dicomrelay.transcode import Source, TranscodeLimits
from dicomrelay.ul.pdu import AssociateRequest, ContextDecision, ContextResult
from tests.support.data_sets import EXPLICIT, IMPLICIT, real_files
from tests.support.edits import KEY, SECRETS, basic, decoded, encoded, person
from tests.support.engine import CT_IMAGE_STORAGE, MemoryService, running_acceptor, store_item
from tests.support.queries import ROOT
from tests.support.retrieves import identifier, move, retrieving
from tests.support.rooms import rooms_at, transfers_of
from tests.support.web_sending import target as web_target
from tests.support.web_service import web_service
from workers.forward import forward_transfer
from workers.group import group_arrivals
from workers.rooms import Rooms

pytestmark = pytest.mark.filterwarnings("ignore")
UID = "1.2.826.0.1.11.1"
STUDY = "1.2.826.0.1.11.2"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """The key of the tests, in a file."""
    path = tmp_path / "key"
    path.write_bytes(KEY.secret)
    path.chmod(0o600)
    return path


def _files() -> Iterator[tuple[Path, str, int]]:
    """Every eighth clean file of the corpus, its transfer syntax, and where its data set begins."""
    clean = [
        path for path, row in real_files("corpus") if (row["parse"], row["expect"]) == ("part10", "clean")
    ]
    for path in clean[::8]:
        meta = parse_file_meta(path.read_bytes()[:65_536])
        if not meta.is_directory and not transfer_syntax(meta.transfer_syntax_uid).is_deflated:
            yield path, meta.transfer_syntax_uid, meta.data_set_offset


def test_real_files_keep_their_pixels_and_nothing_that_names_anybody(tmp_path: Path) -> None:
    """Each is refused in words without values, or is a data set that pydicom reads, and that comes again unchanged."""
    profile, refused, count = basic("modified_dates", burned_in=BurnedIn.SEND, names_may_be_left=True), [], 0
    for number, (path, syntax, offset) in enumerate(_files()):
        out = tmp_path / f"{number}.dcm"
        asked = {
            "source": str(path),
            "offset": offset,
            "length": path.stat().st_size - offset,
            "copy": str(out),
            "profiles": [as_wire(profile)],
            "at_ms": 1,
            "from": syntax,
        }
        count += 1
        try:
            made = edited_copy(asked, TranscodeLimits())
        except NotTranscodable as error:
            refused.append(str(error))
            continue
        before, after = dcmread(path), dcmread(out, force=True)
        assert after.PatientIdentityRemoved == "YES"
        for uid in _uids(before):
            assert uid.encode() not in out.read_bytes(), (path.name, uid)
        assert before.get("PixelData") == _of(after, syntax, out).get("PixelData")
        again = {**asked, "source": str(out), "offset": 0, "length": made.length, "copy": str(out) + "2"}
        assert not edited_copy(again, TranscodeLimits()).changes
    assert count > 30
    assert len(refused) <= count // 20
    assert all(re.search(r"still holds|byte \d+:", words) for words in refused)


def _of(_found: Dataset, syntax: str, out: Path) -> Dataset:
    encapsulated = transfer_syntax(syntax).is_encapsulated
    return decoded(out.read_bytes(), EXPLICIT if encapsulated else syntax)


def _uids(data_set: Dataset) -> set[str]:
    names = ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
    found = {str(data_set.get(name, "")) for name in names}
    return {uid for uid in found if len(uid) > 12 and not uid.startswith("1.2.840.10008.")}


def test_a_destination_gets_edited_copies_whatever_the_way(tmp_path: Path) -> None:
    """The association has the UID of the copy; the answer says what was sent."""
    data = encoded(person(), EXPLICIT)
    instance = Instance("k", store_item(tmp_path / "in.dcm", data, UID, offset=4), at_ms=1)
    answers: list[Answer] = []
    with running_acceptor(MemoryService()) as peer:
        target = Target(RemotePeer(peer.remote, "S"), copies=tmp_path / "copies", edits=(basic(),))
        _deliver([instance], target, answers)
        (stored,) = peer.service.stored
        _deliver([instance], replace(target, copies=None), answers)
    assert stored.request.sop_instance_uid == KEY.uid(UID) == answers[0].sop_instance_uid
    assert not any(secret.encode() in stored.data_set for secret in SECRETS)
    assert answers[0].outcome is Outcome.DELIVERED
    assert answers[0].digest == hashlib.sha256(stored.data_set).hexdigest()
    assert answers[0].words == "edited by research@0123456789ab"
    # Without a place for copies nothing goes out.
    assert (answers[1].outcome, len(peer.service.stored)) == (Outcome.REFUSED, 1)
    assert not [*(tmp_path / "copies").iterdir()]


def _deliver(instances: list[Instance], target: Target, answers: list[Answer]) -> None:
    deliver(
        instances,
        target,
        locate=lambda instance: instance.item.path,
        answered=answers.append,
        keep_going=lambda: True,
    )


def test_an_edited_copy_may_be_transcoded_too(tmp_path: Path) -> None:
    """First the profile, then the transfer syntax that the peer takes."""
    data = encoded(person(), EXPLICIT)
    instance = Instance("k", store_item(tmp_path / "in.dcm", data, UID), edits=(basic(),))
    answers: list[Answer] = []
    with running_acceptor(MemoryService(answer=_only_implicit)) as peer:
        target = Target(
            RemotePeer(peer.remote, "S"), policy=TransferSyntaxPolicy.LOSSLESS, copies=tmp_path / "copies"
        )
        _deliver([instance], target, answers)
        (stored,) = peer.service.stored
    assert decoded(stored.data_set, IMPLICIT).PatientIdentityRemoved == "YES"
    assert answers[0].words.startswith("edited by research@0123456789ab, sent in Implicit VR Little Endian")


def _only_implicit(_request: AssociateRequest, decisions: list[ContextDecision]) -> Acceptance:
    refused = ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED
    return Acceptance(
        [each if each.transfer_syntax == IMPLICIT else replace(each, result=refused) for each in decisions]
    )


def test_a_profile_that_cannot_be_applied_lets_nothing_out(tmp_path: Path) -> None:
    """The others go on."""
    burned = person()
    burned.BurnedInAnnotation = "YES"
    instances = [
        Instance("burned", store_item(tmp_path / "a", encoded(burned, EXPLICIT), UID)),
        Instance("broken", store_item(tmp_path / "b", b"\x08\0\x16\0UI\xff\0", UID)),
        Instance("well", store_item(tmp_path / "c", encoded(person(), EXPLICIT), UID)),
    ]
    answers: list[Answer] = []
    with running_acceptor(MemoryService()) as peer:
        target = Target(RemotePeer(peer.remote, "S"), copies=tmp_path / "copies", edits=(basic(),))
        _deliver(instances, target, answers)
        assert [each.request.sop_instance_uid for each in peer.service.stored] == [KEY.uid(UID)]
    assert [(each.key, each.outcome) for each in answers] == [
        ("burned", Outcome.REFUSED),
        ("broken", Outcome.REFUSED),
        ("well", Outcome.DELIVERED),
    ]
    assert "Burned In Annotation (0028,0301) is YES" in answers[0].words
    assert "(0008,0016) says 255 bytes" in answers[1].words


def test_the_child_process_makes_the_same_bytes_each_time_and_leaves_nothing(tmp_path: Path) -> None:
    """Deflated data sets too."""
    path = tmp_path / "in.dcm"
    path.write_bytes(encoded(person(), EXPLICIT))
    source = Source(path, 0, path.stat().st_size, EXPLICIT)
    same = Profile("same", "000000000000")
    with EditBench(tmp_path / "copies") as bench:
        copies = [bench.edit(source, [basic()]) for _ in range(2)]
        assert copies[0].copy is not None
        assert copies[1].copy is not None
        assert copies[0].copy.digest == copies[1].copy.digest
        assert "(0010,0010) replaced" in copies[0].changes
        assert bench.edit(source, [same]).copy is None
        with pytest.raises(NotEditable, match=r"the data set ends|says"):
            bench.edit(replace(source, length=source.length - 20), [basic()])
    assert not [*(tmp_path / "copies").iterdir()]


def test_forwarding_obeys_destination_and_rule_and_evidence_says_so(tmp_path: Path, key: Path) -> None:
    """What arrived stays; the chain has the profile with its version, and both digests."""
    with (
        running_acceptor(MemoryService()) as peer,
        rooms_at(tmp_path / "home", _toml(peer.port, key)) as (rooms, _),
    ):
        data = encoded(person(), EXPLICIT)
        record = _spooled(rooms, data)
        group_arrivals(rooms)
        for transfer in transfers_of(rooms):
            forward_transfer(rooms, transfer)
        titles = {stored.data_set for stored in peer.service.stored}
        assert len(titles) == 2
        by_rule = next(decoded(each, EXPLICIT) for each in titles if b"Site 2" in each)
        research = next(decoded(each, EXPLICIT) for each in titles if b"Site 2" not in each)
        assert (by_rule.InstitutionName, by_rule.PatientID) == ("Site 2", "PAT-4711")
        (original,) = by_rule.OriginalAttributesSequence
        assert original.ModifiedAttributesSequence[0].InstitutionName == "Klinikum Mustermann"
        assert (research.PatientIdentityRemoved, research.SOPInstanceUID) == ("YES", KEY.uid(UID))
        with rooms.spool.locate(record.id).open("rb") as kept:
            kept.seek(record.data_set_offset)
            assert kept.read() == data
        made = _run(rooms, "report", STUDY, "--json")
        document = json.loads(made.stdout)
        rows = [row for row in document["evidence"] if row["kind"] == "sent"]
        details = {row["body"]["destination"]: row["body"]["detail"] for row in rows}
        assert re.fullmatch(r"research@[0-9a-f]{12}", details["registry"]["edits"])
        assert re.fullmatch(r"site@[0-9a-f]{12}", details["site"]["edits"])
        assert details["registry"]["sent_sop_instance_uid"] == KEY.uid(UID)
        assert "sent_sop_instance_uid" not in details["site"]
        told = {row["destination"]: row for row in document["deliveries"]}
        assert told["registry"]["words"].startswith("edited by research@")
        assert told["registry"]["digest"] != told["registry"]["received_digest"]
        assert "edited by site@" in _run(rooms, "trace", STUDY).stdout


def _toml(port: int, key: Path) -> str:
    there = f'ae_title = "RELAY"\nhost = "127.0.0.1"\nport = {port}\n'
    return (
        f'[[destinations]]\nname = "registry"\nedits = "research"\n{there}'
        f'[[destinations]]\nname = "site"\n{there}'
        f'[[edits]]\nname = "research"\ndeidentify = {{ key_file = "{key}" }}\n'
        '[[edits]]\nname = "site"\nset = { InstitutionName = "Site 2" }\n'
        '[[rules]]\nsend_to = ["registry"]\n'
        '[[rules]]\nsend_to = ["site"]\nedits = "site"\n'
    )


def _spooled(rooms: Rooms, data: bytes) -> SpoolRecord:
    writer = rooms.spool.writer(
        sop_class_uid=CT_IMAGE_STORAGE,
        sop_instance_uid=UID,
        transfer_syntax_uid=EXPLICIT,
        provenance=Provenance("CT_1", "DICOMRELAY", "127.0.0.1", "a1", 1, ""),
    )
    writer.write([memoryview(data)])
    return writer.commit(Header(CT_IMAGE_STORAGE, UID, STUDY, "1.2.826.0.1.11.3", "CT"))


def _run(rooms: Rooms, *words: str) -> Result:
    return CliRunner().invoke(cli, [*words, "--home", str(rooms.settings.home)], standalone_mode=False)


def test_a_person_can_try_a_profile_and_make_a_key(tmp_path: Path) -> None:
    """Changes without values; the copy is the one that a destination would get."""
    home, key, path, copy = (tmp_path / name for name in ("home", "new.key", "in.dcm", "copy.dcm"))
    home.mkdir()
    data_set = person()
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = EXPLICIT
    data_set.save_as(path, implicit_vr=False, little_endian=True, enforce_file_format=True)
    made = CliRunner().invoke(cli, ["edits", "key", str(key), "--home", str(home)])
    assert made.exit_code == 0, made.output
    assert (key.stat().st_mode & 0o777, len(key.read_bytes())) == (0o600, 65)
    again = CliRunner().invoke(cli, ["edits", "key", str(key), "--home", str(home)])
    assert "stays as it is" in str(again.exception)
    (home / "relay.toml").write_text(
        f'[[edits]]\nname = "research"\ndeidentify = {{ key_file = "{key}" }}\n[[edits]]\nname = "lost"\n'
        f'deidentify = {{ key_file = "{tmp_path}/lost" }}\n'
    )
    words = ["edits", "try", "research", str(path), "-o", str(copy), "--home", str(home)]
    tried = CliRunner().invoke(cli, words)
    assert tried.exit_code == 0, tried.output
    assert "replaced  (0010,0010)  PatientName" in tried.output
    assert not any(secret in tried.output for secret in SECRETS)
    found = dcmread(copy)
    assert found.PatientIdentityRemoved == "YES"
    assert found.file_meta.MediaStorageSOPInstanceUID == found.SOPInstanceUID != data_set.SOPInstanceUID
    key.chmod(0o644)
    told = CliRunner().invoke(
        cli, ["doctor", "--no-destinations", "--home", str(home)], standalone_mode=False
    )
    assert re.search(r"ok +edits research: version [0-9a-f]{12}", told.stdout)
    assert re.search(r"warning +edits research: .* may be read by other users", told.stdout)
    assert re.search(r"failed +edits lost: .* the key cannot be read", told.stdout)
    listed = CliRunner().invoke(cli, ["edits", "list", "--json", "--home", str(home)], standalone_mode=False)
    rows = json.loads(listed.stdout)
    assert [(row["name"], bool(row["version"]), bool(row["fault"])) for row in rows] == [
        ("research", True, False),
        ("lost", False, True),
    ]
    text = (home / "relay.toml").read_text("utf-8")
    (home / "relay.toml").write_text(
        f'rules_file = "rules.toml"\n{text}[[destinations]]\nname = "r"\nae_title = "R"\nhost = "h"\n'
    )
    rules = home / "rules.toml"
    rules.write_text('[[rules]]\nsend_to = ["r"]\nedits = "research"\n')
    listed = CliRunner().invoke(cli, ["edits", "list", "--home", str(home)], standalone_mode=False)
    assert re.search(r"research@[0-9a-f]{12}: .* named by rule 0", listed.stdout)
    rules.write_text("[[rule]]\n")
    listed = CliRunner().invoke(cli, ["edits", "list", "--home", str(home)], standalone_mode=False)
    assert listed.return_value == 2
    assert "which rules name them is not known" in listed.stderr


def test_a_web_service_gets_edited_copies(tmp_path: Path) -> None:
    """STOW-RS, several in a request; the answer is matched by the UID of the copy."""
    instance = Instance(
        "k", store_item(tmp_path / "in.dcm", encoded(person(), EXPLICIT), UID, offset=8), at_ms=1
    )
    answers: list[Answer] = []
    with web_service() as service:
        where = replace(web_target(service.port), copies=tmp_path / "copies", edits=(basic(),))
        _deliver([instance], where, answers)
        (asked,) = service.asked
    assert set(asked.files) == {KEY.uid(UID)}
    assert not any(secret.encode() in asked.body for secret in SECRETS)
    (answer,) = answers
    assert (answer.outcome, answer.edits) == (Outcome.DELIVERED, "research@0123456789ab")
    assert answer.digest == hashlib.sha256(asked.files[KEY.uid(UID)][-answer.sent_bytes :]).hexdigest()


def test_a_move_to_a_destination_obeys_its_profile(tmp_path: Path, key: Path) -> None:
    """Whoever asks for it: what goes there goes edited."""
    profile = {"name": "research", "deidentify": {"key_file": str(key), "burned_in": "send"}}
    with retrieving(tmp_path, sections={"edits": [profile]}, edits="research") as scene:
        moved = move(scene.remote, identifier("STUDY", StudyInstanceUID=f"{ROOT}.2"))
        assert moved.status == 0
        assert moved.totals[1] == 0
        assert scene.sink.service.stored
        for each in scene.sink.service.stored:
            assert KEY.is_our_uid(each.request.sop_instance_uid)
            assert ROOT.encode() not in each.data_set


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (lambda toml: toml.partition("[[edits]]")[0], "no profile 'research'"),
        (
            lambda toml: toml.replace('"site"\n', '"site"\nverification = "find"\n', 1),
            "would be asked for UIDs",
        ),
        (
            lambda toml: toml.replace('"site"\n', '"site"\ntransfer_syntax_policy = "never"\n', 1),
            "forbids any change",
        ),
    ],
)
def test_what_was_decided_and_cannot_be_any_more_waits_for_a_person(
    tmp_path: Path, key: Path, now: Callable[[str], str], words: str
) -> None:
    """Nothing goes out unedited because the settings have changed meanwhile."""
    with running_acceptor(MemoryService()) as peer:
        toml = _toml(peer.port, key).replace(
            'send_to = ["site"]\nedits = "site"', 'send_to = ["site"]\nedits = "research"'
        )
        toml = toml.replace('edits = "research"\nae', "ae", 1)
        with rooms_at(tmp_path / "home", toml) as (rooms, _):
            _spooled(rooms, encoded(person(), EXPLICIT))
            group_arrivals(rooms)
            (transfer,) = [each for each in transfers_of(rooms) if _destination(rooms, each) == "site"]
            later = tmp_path / "later.toml"
            later.write_text(now(toml.partition("[[rules]]")[0]))
            forward_transfer(replace(rooms, settings=load(config=later, home=tmp_path / "home")), transfer)
            (waiting,) = rooms.ledger.waiting()
            assert words in waiting.reason
            assert not peer.service.stored


def _destination(rooms: Rooms, transfer: str) -> str:
    return next(each.destination for each in rooms.ledger.due(limit=100).transfers if each.id == transfer)
