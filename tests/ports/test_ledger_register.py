"""Arrivals: what each one is to the ledger (docs/design/ledger.md, rules 1 and 2)."""

from __future__ import annotations

import json

from sqlalchemy import create_engine, event, text

from dicomrelay.ledger import AttentionKind, DeliveryState, Ledger, Registered, Verdict
from dicomrelay.ledger.engine import database_url
from dicomrelay.ledger.migrate import migrate
from tests.support.ledger import (
    archive_all,
    arrival,
    claim,
    claimed_transfer,
    due_ids,
    group,
    outcomes,
)


def verdicts(registered: list[Registered]) -> list[Verdict]:
    return [result.verdict for result in registered]


def rows(url: str, query: str) -> list[tuple[object, ...]]:
    engine = create_engine(database_url(url))
    with engine.connect() as connection:
        found = [tuple(row) for row in connection.execute(text(query))]
    engine.dispose()
    return found


def test_an_unseen_instance_is_new_and_gets_its_deliveries(ledger: Ledger) -> None:
    """NEW, with one delivery a destination and the archive to do."""
    registered = ledger.register([arrival(1), arrival(2, destinations=("pacs", "second"))])
    assert verdicts(registered) == [Verdict.NEW, Verdict.NEW]
    assert [result.kept_spool_id for result in registered] == ["spool-000001", "spool-000002"]
    (study,) = ledger.studies()
    assert (study.instances, study.bytes, study.series) == (2, 2000, 1)
    assert [(row.destination, row.pending) for row in study.destinations] == [("pacs", 2), ("second", 1)]
    assert ledger.due(limit=10).archive_pending == 2


def test_the_same_spool_item_again_changes_nothing(ledger: Ledger, ledger_url: str) -> None:
    """KNOWN: the replay after a crash between the ledger's commit and the spool's rename."""
    first = ledger.register([arrival(1)])
    before = rows(ledger_url, "SELECT * FROM instances") + rows(ledger_url, "SELECT * FROM studies")
    again = ledger.register([arrival(1)])
    assert verdicts(again) == [Verdict.KNOWN]
    assert again[0].instance_id == first[0].instance_id
    after = rows(ledger_url, "SELECT * FROM instances") + rows(ledger_url, "SELECT * FROM studies")
    assert before == after
    assert len(rows(ledger_url, "SELECT * FROM deliveries")) == 1


def test_same_uid_and_same_bytes_is_a_duplicate(ledger: Ledger) -> None:
    """Invariant 9: success, one copy; the spool item that is kept is the first one's."""
    (first,) = ledger.register([arrival(1)])
    (second,) = ledger.register([arrival(1, spool_id="other")])
    assert second.verdict is Verdict.DUPLICATE
    assert (second.instance_id, second.kept_spool_id) == (first.instance_id, "spool-000001")
    (study,) = ledger.studies()
    assert (study.instances, study.set_aside, study.destinations[0].pending) == (1, 0, 1)


def test_a_duplicate_makes_the_deliveries_that_are_not_there_yet(ledger: Ledger) -> None:
    """By rules once for each destination, by a job once more for the job."""
    ledger.register([arrival(1)])
    ledger.register([arrival(1, spool_id="b", destinations=("pacs", "second"))])
    ledger.register([arrival(1, spool_id="c", job_id="job-1")])
    ledger.register([arrival(1, spool_id="d", job_id="job-1")])
    (study,) = ledger.studies()
    assert [(row.destination, row.pending) for row in study.destinations] == [("pacs", 2), ("second", 1)]


def test_same_uid_and_other_bytes_is_set_aside_and_listed(ledger: Ledger, ledger_url: str) -> None:
    """Invariant 9: both kept, the second without deliveries, with an event, in the list of what needs attention."""
    (kept,) = ledger.register([arrival(1)])
    (aside,) = ledger.register([arrival(1, spool_id="other", digest="f" * 64)])
    assert aside.verdict is Verdict.CONFLICT
    assert aside.instance_id != kept.instance_id
    (study,) = ledger.studies()
    assert (study.instances, study.set_aside, study.destinations[0].pending) == (1, 1, 1)
    (listed,) = ledger.needs_attention()
    assert (listed.kind, listed.spool_id, listed.sop_instance_uid) == (
        AttentionKind.CONFLICT,
        "other",
        "1.2.3.1",
    )
    (event,) = rows(ledger_url, "SELECT instance_id, detail FROM events WHERE kind = 'conflict'")
    assert event[0] == aside.instance_id
    assert json.loads(str(event[1])) == {"sop_instance_uid": "1.2.3.1", "spool_id": "other"}
    assert ledger.due(limit=10).archive_pending == 1


def test_a_conflict_is_said_again_when_its_spool_item_comes_again(ledger: Ledger, ledger_url: str) -> None:
    """The crash between register and the spool's set_aside: the same verdict, no second row, no second event."""
    ledger.register([arrival(1), arrival(1, spool_id="other", digest="f" * 64)])
    (again,) = ledger.register([arrival(1, spool_id="other", digest="f" * 64)])
    assert (again.verdict, again.kept_spool_id) == (Verdict.CONFLICT, "other")
    assert rows(ledger_url, "SELECT count(*) FROM instances") == [(2,)]
    assert rows(ledger_url, "SELECT count(*) FROM events WHERE kind = 'conflict'") == [(1,)]


def test_bytes_that_were_set_aside_before_are_not_kept_twice(ledger: Ledger) -> None:
    """A modality that sends the conflicting instance again and again fills no disk."""
    ledger.register([arrival(1), arrival(1, spool_id="other", digest="f" * 64)])
    (again,) = ledger.register([arrival(1, spool_id="third", digest="f" * 64)])
    assert (again.verdict, again.kept_spool_id) == (Verdict.DUPLICATE, "other")
    (study,) = ledger.studies()
    assert study.set_aside == 1
    assert study.destinations[0].pending == 1


def test_repeats_inside_a_batch_count_as_if_one_after_the_other(ledger: Ledger) -> None:
    """One batch holds a replay, a duplicate with another wish, a conflict and the conflict's duplicate."""
    registered = ledger.register(
        [
            arrival(1),
            arrival(1),
            arrival(1, spool_id="b", destinations=("second",)),
            arrival(1, spool_id="c", digest="f" * 64),
            arrival(1, spool_id="d", digest="f" * 64),
        ]
    )
    assert verdicts(registered) == [
        Verdict.NEW,
        Verdict.KNOWN,
        Verdict.DUPLICATE,
        Verdict.CONFLICT,
        Verdict.DUPLICATE,
    ]
    (study,) = ledger.studies()
    assert (study.instances, study.set_aside) == (1, 1)
    assert [(row.destination, row.pending) for row in study.destinations] == [("pacs", 1), ("second", 1)]


def test_an_empty_batch_is_nothing(ledger: Ledger) -> None:
    """No arrivals, no transaction, no results."""
    assert ledger.register([]) == []
    assert ledger.studies() == ()


def test_a_duplicate_of_what_was_delivered_and_released_becomes_its_file(ledger: Ledger) -> None:
    """Rule 2: without an archive the first file is gone, so a new delivery needs the second one."""
    claimed = claimed_transfer(ledger, [arrival(1, archive=False)])
    ledger.record_outcomes(claimed.id, claimed.fence, outcomes(claimed, DeliveryState.DELIVERED))
    ledger.finish_transfer(claimed.id, claimed.fence, retry_in_ms=None)
    assert ledger.mark_released(ledger.releasable(host="gateway-1", limit=10)) == ["spool-000001"]

    (nothing_to_do,) = ledger.register([arrival(1, spool_id="b", archive=False)])
    assert nothing_to_do.verdict is Verdict.DUPLICATE

    (adopted,) = ledger.register(
        [
            arrival(
                1,
                spool_id="c",
                host="gateway-2",
                archive=False,
                job_id="job-1",
                data_set_offset=700,
                source_path="/data/x",
            )
        ]
    )
    assert (adopted.verdict, adopted.kept_spool_id) == (Verdict.NEW, "c")
    assert group(ledger) == 1
    facts = claim(ledger, due_ids(ledger)[0]).deliveries[0].instance
    assert (facts.spool_id, facts.host, facts.released) == ("c", "gateway-2", False)
    assert (facts.data_set_offset, facts.source_path) == (700, "/data/x")


def test_a_duplicate_of_what_is_archived_needs_no_second_file(ledger: Ledger) -> None:
    """Released but archived: the job's delivery takes the archived file."""
    claimed = claimed_transfer(ledger, [arrival(1)])
    ledger.record_outcomes(claimed.id, claimed.fence, outcomes(claimed, DeliveryState.DELIVERED))
    archive_all(ledger)
    ledger.mark_released(["spool-000001"])
    (again,) = ledger.register([arrival(1, spool_id="b", job_id="job-1")])
    assert again.verdict is Verdict.DUPLICATE
    group(ledger)
    (transfer,) = ledger.due(limit=10).transfers
    facts = claim(ledger, transfer.id).deliveries[0].instance
    assert (facts.released, facts.archive_path) == (True, "1.2.3.1.dcm")


def test_a_duplicate_can_ask_for_the_archive(ledger: Ledger) -> None:
    """The archive was off when the instance came first and is on now."""
    ledger.register([arrival(1, archive=False)])
    assert ledger.due(limit=10).archive_pending == 0
    ledger.register([arrival(1, spool_id="b", archive=True)])
    assert ledger.due(limit=10).archive_pending == 1
    claimed = archive_all(ledger)
    assert claimed is not None
    assert claimed.items[0].instance.spool_id == "spool-000001"


def test_texts_that_no_database_takes_do_not_block_the_batch(ledger: Ledger) -> None:
    """A NUL and a lone surrogate from the wire are replaced; the other instances of the batch are registered too."""
    registered = ledger.register(
        [
            arrival(1, calling_ae_title="CT\0", modality="\udcff", association_id="x" * 5000),
            arrival(2, destinations=("pa\0cs",)),
            arrival(3, sop_instance_uid="1." + "9" * 5000),
        ]
    )
    assert verdicts(registered) == [Verdict.NEW] * 3
    assert {row.destination for row in ledger.studies()[0].destinations} == {"pacs", "pa?cs"}


def test_a_path_is_kept_without_loss_whatever_its_bytes(ledger: Ledger) -> None:
    """In reference mode the file is opened by this name, and names on disk need not be UTF-8 nor short."""
    path = "/data/caf\udce9/" + "d/" * 1000 + "ä.dcm"
    claimed = claimed_transfer(ledger, [arrival(1, source_path=path)])
    assert claimed.deliveries[0].instance.source_path == path


def test_a_destination_that_nobody_described_is_kept_by_name(ledger: Ledger) -> None:
    """Nothing is refused; once the destination is synced the delivery can be sent."""
    ledger.register([arrival(1, destinations=("later",))])
    unknown = ledger.destination("later")
    assert unknown is not None
    assert (unknown.kind.value, unknown.port) == ("unknown", 0)
    assert ledger.destination("never named") is None


def test_an_index_that_was_lost_is_built_again_from_the_spool(ledger: Ledger, empty_url: str) -> None:
    """The spool file is the record: registering all of its items again gives the same studies and deliveries."""
    items = [
        arrival(number, study_instance_uid=f"1.2.{number % 3}", spool_id=f"{number:04}")
        for number in range(30)
    ]
    items.append(arrival(0, study_instance_uid="1.2.0", spool_id="other", digest="f" * 64))
    ledger.register(items)

    migrate(empty_url)
    rebuilt = Ledger.open(empty_url)
    rebuilt.register(items[:10])
    rebuilt.register(items[10:])

    def shape(of: Ledger) -> list[tuple[object, ...]]:
        return sorted(
            (study.study_instance_uid, study.instances, study.set_aside, study.bytes, study.destinations)
            for study in of.studies()
        )

    assert shape(rebuilt) == shape(ledger)
    rebuilt.dispose()


def test_a_batch_of_hundreds_takes_a_handful_of_statements(ledger: Ledger) -> None:
    """Registering 200 arrivals is not 200 round trips: the number of statements does not grow with the batch."""
    counted: list[str] = []
    engine = ledger._database._engine
    event.listen(engine, "before_cursor_execute", lambda *args: counted.append(args[2]))
    ledger.register([arrival(1)])
    one, counted[:] = len(counted), []
    ledger.register([arrival(number) for number in range(100, 300)])
    assert len(counted) == one
    assert one < 20
