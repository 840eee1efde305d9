"""Rules on a real ledger, spool and archive: what is decided, when, and what is kept of it (docs/design/rules.md)."""

from __future__ import annotations

import dataclasses
import errno
import json
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import create_engine, text

from dicomrelay.cli.targets import find_target
from dicomrelay.errors import ConfigurationError, ServiceUnavailable
from dicomrelay.ledger import Ledger
from dicomrelay.ledger.engine import Database, database_url
from dicomrelay.ledger.migrate import _config, migrate
from dicomrelay.ledger.values import InstanceFacts
from dicomrelay.ledger.values_decisions import Decided, LaterDecision, Level, Terms
from dicomrelay.ledger.values_operations import ReplayOrder, Subject, SubjectKind
from dicomrelay.routing.book import RuleBook
from dicomrelay.routing.recording import read
from dicomrelay.runtime.home import ledger_url as url_of
from tests.support.ledger import arrival, group
from tests.support.rooms import rooms_at, spooled, transfers_of
from workers import complete
from workers.attributes import read_attributes
from workers.deciding import decide_complete
from workers.group import group_arrivals
from workers.keep import archive_batch, release_batch
from workers.locating import locate
from workers.rooms import Rooms

_DESTINATIONS = "".join(
    f'[[destinations]]\nname = "{name}"\nae_title = "{ae}"\nhost = "127.0.0.1"\nport = 1\n'
    for name, ae in (("pacs", "X"), ("research", "Y"))
)
_PULLS = "".join(
    f'[[pulls]]\nname = "{name}"\nsource = "OLD@127.0.0.1:1"\npriors = {{}}\n' for name in ("own", "late")
)
# Requesting Physician (0032,1032), which stands behind what every instance of these tests has.
NAME = b"\x32\x00\x32\x10PN"
DOE = NAME + b"\x08\x00" + b"DOE^JOHN"
# Patient ID (0010,0020)
PATIENT = b"\x10\x00\x20\x00LO\x04\x00P-01"
ROE = NAME + b"\x08\x00" + b"ROE^JANE"

# What differs in no statement from what the other tests run on both databases.
of_sqlite = pytest.mark.parametrize("backend", ["sqlite"])


@pytest.fixture
def house(
    tmp_path: Path, ledger_url: str, migrated_sqlite: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[object]:
    """Rooms with these rules, on that database; a file of rules is whole as soon as it is written."""
    monkeypatch.setattr("workers.rooms.RuleBook", partial(RuleBook, settle_s=0))
    made = []

    def opened(rules: str) -> Rooms:
        url = "embedded" if ledger_url.startswith("sqlite") else ledger_url
        home = tmp_path / "home"
        (home / "db").mkdir(parents=True)
        shutil.copy(migrated_sqlite, home / "db" / "ledger.sqlite")
        (home / "rules.toml").write_text(rules)
        toml = f'[database]\nurl = "{url}"\n[[edits]]\nname = "basic"\nremove = ["PatientName"]\n{_PULLS}{_DESTINATIONS}'
        manager = rooms_at(home, toml.replace("[database]", "[streamer]\nport = 8081\n[database]"))
        made.append(manager)
        rooms, _ = manager.__enter__()
        settings = rooms.settings.model_copy(update={"rules_file": Path("rules.toml")})
        return dataclasses.replace(rooms, settings=settings)

    yield opened
    for manager in made:
        manager.__exit__(None, None, None)


def came(rooms: Rooms, uid: str, study: str = "1.2.3", name: bytes = b"") -> None:
    spooled(rooms, uid, study=study, more=name)
    group_arrivals(rooms)


def wanted(rooms: Rooms) -> set[tuple[str, str, str]]:
    """SOP Instance UID, destination and edits of every delivery."""
    database = Database(url_of(rooms.settings))
    with database.read() as work:
        rows = work.connection.execute(
            text(
                "SELECT i.sop_instance_uid, d.destination, d.edits FROM deliveries d JOIN instances i ON i.id = d.instance_id"
            )
        ).all()
    database.dispose()
    return {tuple(row) for row in rows}


def undecided(rooms: Rooms) -> list[str]:
    return rooms.ledger.rulings.to_decide(complete.policy(rooms.settings), limit=10)


def test_every_decision_is_kept_with_its_version_and_what_was_asked(house) -> None:  # type: ignore[no-untyped-def]
    """And with nothing about a patient: only that the test of the name held."""
    rooms = house(
        '[[rules]]\nwhen.attributes = { RequestingPhysician = "DOE*" }\nsend_to = ["pacs"]\npriority = "urgent"\n'
    )
    came(rooms, "1.2.9.1", name=DOE)
    came(rooms, "1.2.9.2", name=ROE)
    first, second = sorted(
        rooms.ledger.rulings.of_instances(["1.2.3"]), key=lambda each: each.facts.sop_instance_uid
    )
    assert wanted(rooms) == {("1.2.9.1", "pacs", "")}
    assert (first.row.level, first.row.decided.rules, second.row.decided.rules) == (Level.INSTANCE, "0", "")
    assert read(first.row.decided.outcome) == {"destinations": {"pacs": {}}, "priority": "urgent"}
    assert list(read(first.row.decided.inputs)["tests"].values()) == [True]
    for each in (first, second):
        assert "DOE" not in json.dumps(dataclasses.asdict(each.row))
        assert "ROE" not in json.dumps(dataclasses.asdict(each.row))
    (version,) = rooms.ledger.rulings.versions()
    assert (version.version, version.decisions) == (first.row.decided.version, 2)
    assert "DOE*" in version.body  # the rule itself says whom it is about


def test_a_rule_of_studies_is_asked_when_the_study_is_complete(house) -> None:  # type: ignore[no-untyped-def]
    """Before it is made into transfers; and once more for what comes later, for all of it."""
    rooms = house(
        '[[rules]]\nsend_to = ["pacs"]\n'
        '[[rules]]\ntrigger = "study"\nwhen.instances = { min = 2 }\nsend_to = ["research"]\nedits = "basic"\n'
    )
    came(rooms, "1.2.9.1")
    assert undecided(rooms) == ["1.2.3"]
    # What is complete and undecided is no study to make transfers of.
    assert rooms.ledger.completion.complete(complete.policy(rooms.settings), limit=10).transfers == 0
    assert complete.make_complete(rooms).transfers == 1
    assert (wanted(rooms), undecided(rooms)) == ({("1.2.9.1", "pacs", "")}, [])
    came(rooms, "1.2.9.2")
    assert undecided(rooms) == ["1.2.3"]
    assert complete.make_complete(rooms).transfers == 2
    both = {
        (f"1.2.9.{number}", name, edits)
        for number in (1, 2)
        for name, edits in (("pacs", ""), ("research", "basic"))
    }
    assert wanted(rooms) == both
    (row,) = rooms.ledger.rulings.of_later(["1.2.3"])
    assert (row.level, row.subject, row.decided.rules) == (Level.STUDY, "1.2.3", "1")
    assert rooms.ledger.rulings.apply("1.2.3", [], latest=row.number) is None
    # Once more, or by two at once, does no harm.
    assert decide_complete(rooms, complete.policy(rooms.settings)) == 0
    assert complete.make_complete(rooms).transfers == 0
    edits = {
        pending.edits
        for transfer in rooms.ledger.due(limit=10).transfers
        for claimed in [rooms.ledger.claim_transfer(transfer.id, owner="me", lease_ms=60_000)]
        if claimed is not None and claimed.destination == "research"
        for pending in claimed.deliveries
    }
    assert edits == {"basic"}


def test_nothing_of_an_undecided_study_leaves_the_spool(house) -> None:  # type: ignore[no-untyped-def]
    """A rule may send it somewhere yet, and the archive is not asked."""
    rooms = house('[[rules]]\ntrigger = "study"\nsend_to = ["pacs"]\n')
    came(rooms, "1.2.9.1")
    archive_batch(rooms)
    assert release_batch(rooms) == 0
    complete.make_complete(rooms)
    assert wanted(rooms) == {("1.2.9.1", "pacs", "")}


def test_a_decision_that_something_overtook_is_made_again(house) -> None:  # type: ignore[no-untyped-def]
    """Nothing of it is written."""
    rooms = house('[[rules]]\ntrigger = "study"\nsend_to = ["pacs"]\n')
    came(rooms, "1.2.9.1")
    before = max(each.row.number for each in rooms.ledger.rulings.of_instances(["1.2.3"]))
    came(rooms, "1.2.9.2")
    assert rooms.ledger.rulings.apply("1.2.3", [], latest=before) is None
    assert undecided(rooms) == ["1.2.3"]


@of_sqlite
def test_other_rules_may_be_in_force_by_the_time_a_study_is_complete(house) -> None:  # type: ignore[no-untyped-def]
    """What they ask and was not stored is read from the bytes; without such rules it is decided too."""
    rooms = house('[[rules]]\ntrigger = "study"\nwhen.modality = "MR"\nsend_to = ["pacs"]\n')
    came(rooms, "1.2.9.1", name=DOE)
    path = rooms.settings.rules_path
    assert path is not None
    path.write_text(
        '[[rules]]\ntrigger = "series"\nwhen.attributes = { RequestingPhysician = "DOE*" }\nsend_to = ["research"]\n'
    )
    complete.make_complete(rooms)
    assert wanted(rooms) == {("1.2.9.1", "research", "")}
    came(rooms, "1.2.9.2", name=DOE)
    path.write_text("[[rules]]\n")
    complete.make_complete(rooms)
    assert undecided(rooms) == []


@of_sqlite
def test_rules_are_read_again_and_those_before_stay_when_they_do_not_pass(house) -> None:  # type: ignore[no-untyped-def]
    """Between two batches."""
    rooms = house('[[rules]]\nsend_to = ["pacs"]\n')
    came(rooms, "1.2.9.1")
    path = rooms.settings.rules_path
    assert path is not None
    path.write_text('[[rules]]\nsend_to = ["paks"]\n')
    came(rooms, "1.2.9.2")
    path.write_text('[[rules]]\nsend_to = ["research"]\n')
    came(rooms, "1.2.9.3")
    assert wanted(rooms) == {("1.2.9.1", "pacs", ""), ("1.2.9.2", "pacs", ""), ("1.2.9.3", "research", "")}


def test_what_a_rule_puts_off_is_due_then_and_holds_up_nothing_else(house) -> None:  # type: ignore[no-untyped-def]
    """Two transfers, of which one is due."""
    rooms = house('[[rules]]\nsend_to = ["pacs"]\n[[rules]]\nsend_to = ["research"]\ndelay_s = 3600\n')
    came(rooms, "1.2.9.1")
    assert complete.make_complete(rooms).transfers == 2
    (due,) = rooms.ledger.due(limit=10).transfers
    assert due.destination == "pacs"
    # A rule that is not there any more holds up nothing of what comes now.
    path = rooms.settings.rules_path
    assert path is not None
    path.write_text('[[rules]]\nsend_to = ["research"]\n')
    came(rooms, "1.2.9.2")
    assert complete.make_complete(rooms).transfers == 1
    assert sorted(each.destination for each in rooms.ledger.due(limit=10).transfers) == ["pacs", "research"]


@of_sqlite
def test_what_cannot_be_read_now_is_decided_when_it_can_be(house, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    """The others of its batch go on; it is never taken for one without a name."""
    rooms = house(
        '[[rules]]\nwhen.attributes = { RequestingPhysician = "DOE*" }\nsend_to = ["pacs"]\n'
        '[[rules]]\nwhen.attributes = { RequestingPhysician = { present = false } }\nsend_to = ["research"]\n'
    )
    rooms.unread_items.again_s = 0.0
    first, _ = (spooled(rooms, f"1.2.9.{number}", more=DOE) for number in (1, 2))

    def troubled(path: Path, **more: object) -> object:
        if first.id in path.name:
            raise ServiceUnavailable("too many open files")
        return read_attributes(path, **more)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr("workers.asking.read_attributes", troubled)
        group_arrivals(rooms)
        assert wanted(rooms) == {("1.2.9.2", "pacs", "")}
        assert rooms.spool.has_arrivals()
    group_arrivals(rooms)
    assert wanted(rooms) == {("1.2.9.1", "pacs", ""), ("1.2.9.2", "pacs", "")}
    assert not rooms.spool.has_arrivals()


@of_sqlite
def test_many_that_cannot_be_read_now_keep_none_behind_them_from_its_turn(
    house, monkeypatch: pytest.MonkeyPatch
) -> None:  # type: ignore[no-untyped-def]
    """More of them than one task takes; and each is told of once, however often somebody looks."""
    rooms = house('[[rules]]\nwhen.attributes = { RequestingPhysician = "DOE*" }\nsend_to = ["pacs"]\n')
    worker = rooms.settings.worker.model_copy(update={"batch_instances": 1})
    rooms = dataclasses.replace(rooms, settings=rooms.settings.model_copy(update={"worker": worker}))
    monkeypatch.setattr("workers.group._BATCHES", 2)
    bad = [spooled(rooms, f"1.2.8.{number}", more=DOE).id for number in range(4)]
    spooled(rooms, "1.2.9.1", more=DOE)
    asked: list[str] = []

    def troubled(path: Path, **more: object) -> object:
        asked.append(path.stem)
        if path.stem in bad:
            raise ServiceUnavailable("input/output error")
        return read_attributes(path, **more)  # type: ignore[arg-type]

    monkeypatch.setattr("workers.asking.read_attributes", troubled)
    looks = [group_arrivals(rooms) for _ in range(3)]

    assert wanted(rooms) == {("1.2.9.1", "pacs", "")}
    assert sorted(asked) == sorted([*bad, *(each for each in asked if each not in bad)])
    assert [look.more for look in looks] == [False, False, False]


@of_sqlite
def test_a_study_whose_bytes_cannot_be_read_now_stays_undecided(
    house, monkeypatch: pytest.MonkeyPatch
) -> None:  # type: ignore[no-untyped-def]
    """And keeps no other one from its turn."""
    rooms = house('[[rules]]\ntrigger = "study"\nwhen.modality = "MR"\nsend_to = ["pacs"]\n')
    rooms.unread_studies.again_s = 0.0
    for number in (1, 2):
        came(rooms, f"1.2.9.{number}", study=f"1.2.{number}", name=DOE)
    path = rooms.settings.rules_path
    assert path is not None
    path.write_text(
        '[[rules]]\ntrigger = "study"\nwhen.attributes = { RequestingPhysician = "DOE*" }\nsend_to = ["pacs"]\n'
    )

    def away(rooms: Rooms, facts: InstanceFacts) -> Path:
        if facts.sop_instance_uid == "1.2.9.1":
            raise OSError(errno.EAGAIN, "the archive's storage is away")
        return locate(rooms, facts)

    with monkeypatch.context() as patch:
        patch.setattr("workers.deciding.locate", away)
        patch.setattr("workers.deciding._STUDIES", 1)
        complete.make_complete(rooms)
        assert (wanted(rooms), undecided(rooms)) == ({("1.2.9.2", "pacs", "")}, ["1.2.1"])
    complete.make_complete(rooms)
    assert wanted(rooms) == {("1.2.9.1", "pacs", ""), ("1.2.9.2", "pacs", "")}


@of_sqlite
def test_another_ledger_learns_the_version_with_the_first_decision(house) -> None:  # type: ignore[no-untyped-def]
    """A file that was deleted under the relay, or a backup that was put back."""
    rooms = house('[[rules]]\ntrigger = "study"\nsend_to = ["pacs"]\n')
    came(rooms, "1.2.9.1")
    (known,) = rooms.ledger.rulings.versions()
    database = Database(url_of(rooms.settings))
    for makes in (lambda: came(rooms, "1.2.9.2"), lambda: complete.make_complete(rooms)):
        with database.write() as work:
            work.connection.execute(text("DELETE FROM rule_versions"))
        makes()
        (again,) = rooms.ledger.rulings.versions()
        assert (again.version, again.body, again.origin) == (known.version, known.body, known.origin)
    database.dispose()


@of_sqlite
def test_who_decides_a_study_that_was_decided_writes_nothing(house) -> None:  # type: ignore[no-untyped-def]
    """Two schedulers at once; the decisions of the instances are the same as when both looked."""
    rooms = house('[[rules]]\ntrigger = "study"\nsend_to = ["pacs"]\n')
    came(rooms, "1.2.9.1")
    latest = max(each.row.number for each in rooms.ledger.rulings.of_instances(["1.2.3"]))
    complete.make_complete(rooms)
    ours = LaterDecision(
        Level.STUDY, "1.2.3", Decided("v", "0", "{}", "{}"), _members(rooms, "research"), "normal"
    )
    assert rooms.ledger.rulings.apply("1.2.3", [ours], latest=latest) is None
    assert wanted(rooms) == {("1.2.9.1", "pacs", "")}


def _members(rooms: Rooms, destination: str) -> dict[str, dict[str, Terms]]:
    found = rooms.ledger.rulings.of_instances(["1.2.3"])
    return {each.facts.instance_id: {destination: Terms()} for each in found}


@of_sqlite
def test_what_became_undecided_while_it_was_to_be_released_stays(house) -> None:  # type: ignore[no-untyped-def]
    """Between the look at what may go and the mark: another instance of its study came."""
    rooms = house('[[rules]]\ntrigger = "study"\nwhen.instances = { min = 2 }\nsend_to = ["pacs"]\n')
    came(rooms, "1.2.9.1")
    complete.make_complete(rooms)
    archive_batch(rooms)
    going = rooms.ledger.releasable(host=rooms.host, limit=10)
    assert len(going) == 1
    came(rooms, "1.2.9.2")
    assert rooms.ledger.mark_released(going) == []


@of_sqlite
def test_a_rule_may_leave_the_archive_out(house) -> None:  # type: ignore[no-untyped-def]
    """Only of what it matches."""
    rooms = house(
        '[[rules]]\nwhen.attributes = { RequestingPhysician = "DOE*" }\nsend_to = ["pacs"]\narchive = false\n[[rules]]\n'
    )
    came(rooms, "1.2.9.1", name=DOE)
    came(rooms, "1.2.9.2", name=ROE)
    assert archive_batch(rooms) == 1


def test_what_is_replayed_is_edited_as_it_was(house) -> None:  # type: ignore[no-untyped-def]
    """Or a destination that is to get no names would get them."""
    rooms = house('[[rules]]\nsend_to = ["research"]\nedits = "basic"\n')
    came(rooms, "1.2.9.1")
    order = ReplayOrder("job", Subject(SubjectKind.STUDY, "1.2.3"), ("research", "pacs"), again=True)
    database = Database(url_of(rooms.settings))
    with database.write() as work:
        work.connection.execute(text("UPDATE deliveries SET state = 'delivered'"))
    database.dispose()
    rooms.ledger.operations.replay(order, in_archive=lambda _: set())
    assert wanted(rooms) == {("1.2.9.1", "research", "basic"), ("1.2.9.1", "pacs", "")}


def test_old_decisions_go_but_of_studies_that_are_undecided(house) -> None:  # type: ignore[no-untyped-def]
    """A rule is to be asked with what they say."""
    rooms = house('[[rules]]\ntrigger = "study"\nsend_to = ["pacs"]\n')
    came(rooms, "1.2.9.1")
    assert rooms.ledger.retention.prune_decisions(age_ms=-1000, limit=10).decisions == 0
    complete.make_complete(rooms)
    assert rooms.ledger.retention.prune_decisions(age_ms=-1000, limit=10).decisions == 2
    assert rooms.ledger.rulings.of_instances(["1.2.3"]) == []


@of_sqlite
def test_what_a_person_named_is_none_of_the_rules(house) -> None:  # type: ignore[no-untyped-def]
    """No decision, and no rule of studies."""
    rooms = house('[[rules]]\ntrigger = "study"\nsend_to = ["pacs"]\n')
    spooled(rooms, "1.2.9.1", send_to=("research",))
    group_arrivals(rooms)
    assert rooms.ledger.rulings.of_instances(["1.2.3"]) == []
    assert len(transfers_of(rooms)) == 1
    assert wanted(rooms) == {("1.2.9.1", "research", "")}


@of_sqlite
def test_what_a_person_sends_is_edited_as_the_rules_say(house) -> None:  # type: ignore[no-untyped-def]
    """Of a destination that by every rule gets edited copies also where none matches."""
    rooms = house(
        '[[rules]]\nwhen.modality = "MR"\nsend_to = ["research"]\nedits = "basic"\n[[rules]]\nsend_to = ["pacs"]\n'
    )
    spooled(rooms, "1.2.9.1", send_to=("research", "pacs"))
    group_arrivals(rooms)
    assert wanted(rooms) == {("1.2.9.1", "research", "basic"), ("1.2.9.1", "pacs", "")}
    with pytest.raises(ConfigurationError, match="--direct: rules send research copies edited by 'basic'"):
        find_target("research", rooms.settings)
    with pytest.raises(ConfigurationError, match="--direct: rules send "):
        find_target("Y@127.0.0.1:1", rooms.settings)
    assert find_target("pacs", rooms.settings)[1].name == "pacs"


def test_a_job_is_not_over_while_rules_are_to_be_asked(house) -> None:  # type: ignore[no-untyped-def]
    """And what they put off is no work that it waits for."""
    rooms = house('[[rules]]\ntrigger = "study"\nsend_to = ["pacs"]\ndelay_s = 3600\n')
    rooms.ledger.create_job("job", kind="send", expected=1)
    spooled(rooms, "1.2.9.1", job_id="job")
    group_arrivals(rooms)
    before = rooms.ledger.job_progress("job")
    assert (before.registered, before.open, before.undecided, before.finished) == (1, 0, 1, False)
    complete.make_complete(rooms)
    after = rooms.ledger.job_progress("job")
    assert (after.undecided, after.open, after.active) == (0, 1, 0)
    (waits,) = after.waiting
    assert (waits.destination, waits.reason, waits.due_in_ms > 3_000_000) == (
        "pacs",
        "a rule puts it off",
        True,
    )


@of_sqlite
def test_priors_are_ordered_once_for_a_study(house) -> None:  # type: ignore[no-untyped-def]
    """By a rule of instances as they come, by one of studies when that is complete; without a Patient ID nothing is."""
    rooms = house(
        '[[rules]]\nwhen.attributes = { RequestingPhysician = "DOE*" }\nprefetch = "own"\n'
        '[[rules]]\ntrigger = "study"\nprefetch = "late"\n'
    )
    for number in (1, 2):
        came(rooms, f"1.2.9.{number}", name=DOE)
    complete.make_complete(rooms)
    assert rooms.ledger.pulls.newest(limit=10) == ()
    for number in (3, 4):
        spooled(rooms, f"1.2.9.{number}", study="1.2.4", first=PATIENT, more=DOE)
    group_arrivals(rooms)
    assert [each.name for each in rooms.ledger.pulls.newest(limit=10)] == ["own"]
    complete.make_complete(rooms)
    complete.make_complete(rooms)
    assert sorted(each.name for each in rooms.ledger.pulls.newest(limit=10)) == ["late", "own"]


def test_activations_are_kept(ledger: Ledger) -> None:
    """The newest first."""
    ledger.rulings.activated(version="b", previous="a", changed=1, of=10, forced=False)
    ledger.rulings.activated(version="c", previous="b", changed=9, of=10, forced=True)
    assert [(each.version, each.previous, each.forced) for each in ledger.rulings.activations()] == [
        ("c", "b", True),
        ("b", "a", False),
    ]


def test_the_fourth_revision_comes_and_goes_without_loss(empty_url: str) -> None:
    """What was there goes at once and as it arrived."""
    engine = create_engine(database_url(empty_url))
    with engine.begin() as connection:
        command.upgrade(_config(connection), "0003")
    migrate(empty_url)
    ledger = Ledger.open(empty_url)
    ledger.register([arrival(1)])
    assert group(ledger) == 1
    ledger.dispose()
    with engine.begin() as connection:
        assert connection.execute(text("SELECT edits, not_before FROM deliveries")).one() == ("", 0)
        command.downgrade(_config(connection), "0003")
        assert len(connection.execute(text("SELECT * FROM deliveries")).all()) == 1
    engine.dispose()
