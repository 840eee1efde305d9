"""What comes over associations, in the trail of a real gateway."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.instances import make_instances
from dicomrelay.audit import Entry, Kind, Outcome, trail_of
from dicomrelay.errors import AssociationRejected
from dicomrelay.net.requestor import Association, RemoteAe
from tests.support.gateway import Running, running
from tests.support.queries import CT, MR, ROOT, associate, find
from tests.support.retrieves import Scene, get, identifier, move, retrieving


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A gateway over an archive, and a destination."""
    with retrieving(tmp_path_factory.mktemp("audit")) as found:
        yield found


def entries(gateway: Running, kind: Kind, what: str, count: int) -> list[Entry]:
    """Those of a kind, once there are so many; the end of an association is told when it is over."""
    deadline = time.monotonic() + 20
    while True:
        trail = trail_of(gateway.settings)
        found = [each for each in trail.entries() if each.kind is kind and each.what == what]
        if len(found) >= count or time.monotonic() > deadline:
            assert len(found) == count
            return found
        time.sleep(0.02)


def test_what_was_received_is_an_entry_for_each_study(scene: Scene, tmp_path: Path) -> None:
    """At the end of the association, with classes and counts."""
    instances = make_instances(tmp_path, 1)
    sent = [next(instances) for _ in range(3)]
    item = sent[0].item
    contexts = [(item.sop_class_uid, (item.transfer_syntax_uid,))]
    with Association.request(scene.remote, calling_ae_title="CT_1", contexts=contexts) as association:
        assert [association.store(each.item).status for each in sent] == [0, 0, 0]
    records = scene.gateway.spool.arrivals(10)
    studies = {record.study_instance_uid for record in records}
    found = entries(scene.gateway, Kind.TRANSFERRED, "association", len(studies))
    assert {thing.id for each in found for thing in each.things} == studies
    assert sum(sum(thing.instances.values()) for each in found for thing in each.things) == 3
    assert {(each.actor.id, each.actor.address, each.outcome) for each in found} == {
        ("CT_1", "127.0.0.1", Outcome.SUCCESS)
    }


def test_a_query_is_told_without_what_it_looks_for(scene: Scene) -> None:
    """Who asked, how much was answered."""
    keys = ("QueryRetrieveLevel=STUDY", "PatientName=M\u00dcLLER*", "PatientID=P1", "StudyInstanceUID")
    assert len(find(scene.remote, *keys, calling_ae_title="READER").answers) == 2
    (entry,) = entries(scene.gateway, Kind.QUERY, "find", 1)
    assert (entry.actor.id, entry.facts["answers"], entry.facts["level"]) == ("READER", 2, "STUDY")
    assert entry.facts["keys"] == "PatientID PatientName"
    trail = trail_of(scene.gateway.settings)
    content = b"".join(trail.path(each).read_bytes() for each in trail.segments()).decode().lower()
    assert "m\u00fcller" not in content
    assert '"p1"' not in content


def test_what_was_given_is_told_by_study(scene: Scene) -> None:
    """To whom, and who asked for it."""
    assert get(scene.remote, identifier("STUDY", StudyInstanceUID=f"{ROOT}.1"))[0].status == 0
    assert move(scene.remote, identifier("STUDY", StudyInstanceUID=f"{ROOT}.1")).status == 0
    (got,) = entries(scene.gateway, Kind.TRANSFERRED, "get", 1)
    (moved,) = entries(scene.gateway, Kind.TRANSFERRED, "move", 1)
    for each, to in ((got, "ASKER"), (moved, "sink")):
        (thing,) = each.things
        assert (thing.id, thing.instances) == (f"{ROOT}.1", {CT: 3, MR: 2})
        assert (each.actor.id, each.by_us, each.outcome) == ("ASKER", True, Outcome.SUCCESS)
        assert each.other is not None
        assert each.other.id == to


def test_who_was_not_let_in_is_told_once_in_a_while(tmp_path: Path) -> None:
    """By name and address."""
    with running(tmp_path / "home", check_called_ae_title=True) as gateway:
        wrong = RemoteAe("OTHER", "127.0.0.1", gateway.settings.gateway.port)
        for _ in range(3):
            with pytest.raises(AssociationRejected):
                associate(wrong, calling_ae_title="STRANGER")
        (found,) = entries(gateway, Kind.REFUSED, "association", 1)
        assert (found.actor.id, found.actor.address) == ("STRANGER", "127.0.0.1")
        assert (found.words, found.outcome) == ("called AE title not recognized", Outcome.SERIOUS)
