"""What two archives, or an archive and a peer, do not have in common; docs/design/archive-export.md."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import fields
from itertools import islice
from operator import attrgetter
from typing import Final

from archive.archive import Archive
from archive.attributes import Level
from archive.difference import Difference, DifferenceKind
from archive.differing_node import differing_from_peer
from archive.scratch import scratch
from archive.values import Selection, StoredInstance
from dicomrelay.net.peer import RemotePeer

__all__ = ["Difference", "DifferenceKind", "diff"]

_EVERYTHING: Final = Selection()
_BATCH: Final = 1000
_NAMES: Final = ", ".join(field.name for field in fields(StoredInstance))
_MARKS: Final = ", ".join("?" for _ in fields(StoredInstance))
_values: Final = attrgetter(*(field.name for field in fields(StoredInstance)))


def diff(
    archive: Archive,
    other: Archive | RemotePeer,
    selection: Selection = _EVERYTHING,
    *,
    trust_counts: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> Iterator[Difference]:
    """Hold an archive against another one, by digests, or against a peer, by C-FIND.

    Memory does not grow with the number of instances. Nothing yielded: they have the same.

    Parameters
    ----------
    selection : Selection
        What is compared; toward a peer a patient id, Study Instance UIDs and matches of studies.
    trust_counts : bool
        Toward a peer: as many series and instances here and there are the same ones.
    on_progress : callable, optional
        Called now and then with how many instances (toward a peer: studies) are compared.

    Raises
    ------
    ConfigurationError
        The selection makes no sense, or cannot be asked of a peer.
    ServiceUnavailable
        An index does not answer.
    AssociationError
        The peer cannot be reached, or the association died twice at one question.
    """
    if isinstance(other, RemotePeer):
        return differing_from_peer(
            archive, other, selection, trust_counts=trust_counts, on_progress=on_progress
        )
    return _differing(archive, other, selection, on_progress)


def _differing(
    archive: Archive, other: Archive, selection: Selection, on_progress: Callable[[int], None] | None
) -> Iterator[Difference]:
    """Both in the order of SOP Instance UIDs, side by side."""
    with closing(_by_uid(archive, selection)) as ours, closing(_by_uid(other, selection)) as theirs:
        here, there = next(ours, None), next(theirs, None)
        done = 0
        while here or there:
            if here and (there is None or here.sop_instance_uid < there.sop_instance_uid):
                yield _only(DifferenceKind.ONLY_HERE, here)
                here = next(ours, None)
            elif there and (here is None or there.sop_instance_uid < here.sop_instance_uid):
                yield _only(DifferenceKind.ONLY_THERE, there)
                there = next(theirs, None)
            elif here and there:
                if (found := _compare(here, there)) is not None:
                    yield found
                here, there = next(ours, None), next(theirs, None)
            done += 1
            if on_progress and done % _BATCH == 0:
                on_progress(done)
        if on_progress:
            on_progress(done)


def _by_uid(archive: Archive, selection: Selection) -> Generator[StoredInstance, None, None]:
    if selection.is_everything:
        yield from archive.places().by_uid()
        return
    table = f"CREATE TABLE instances ({_NAMES}, PRIMARY KEY (sop_instance_uid)) WITHOUT ROWID"
    with scratch(table) as connection:
        found = archive.select(selection)
        connection.execute("BEGIN")
        while batch := list(islice(found, _BATCH)):
            connection.executemany(
                f"INSERT OR IGNORE INTO instances VALUES ({_MARKS})",  # noqa: S608 - no input
                [_values(stored) for stored in batch],
            )
        connection.execute("COMMIT")
        query = f"SELECT {_NAMES} FROM instances ORDER BY sop_instance_uid"  # noqa: S608 - no input
        for row in connection.execute(query):
            yield StoredInstance(*row)


def _compare(here: StoredInstance, there: StoredInstance) -> Difference | None:
    reason = ""
    if here.digest != there.digest:
        reason = "other bytes"
    elif here.study_instance_uid != there.study_instance_uid:
        reason = f"filed under study {there.study_instance_uid} there"
    elif here.series_instance_uid != there.series_instance_uid:
        reason = f"filed under series {there.series_instance_uid} there"
    if not reason:
        return None
    return Difference(
        DifferenceKind.DIFFERING,
        Level.INSTANCE,
        here.study_instance_uid,
        here.series_instance_uid,
        here.sop_instance_uid,
        here=here.digest,
        there=there.digest,
        reason=reason,
    )


def _only(kind: DifferenceKind, stored: StoredInstance) -> Difference:
    is_here = kind is DifferenceKind.ONLY_HERE
    return Difference(
        kind,
        Level.INSTANCE,
        stored.study_instance_uid,
        stored.series_instance_uid,
        stored.sop_instance_uid,
        here=stored.digest if is_here else "",
        there="" if is_here else stored.digest,
    )
