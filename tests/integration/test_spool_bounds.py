"""A source that is at its bound is told so, the others are not, and it goes on by itself."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

from chaos.instances import Instance, make_instances
from dicomrelay.net.requestor import Association
from tests.support.gateway import Running, running

_MB = 1_000_000


def send(gateway: Running, title: str, instances: Iterator[Instance], *, until: int, most: int) -> list[int]:
    """Send until there is an answer other than 0000, `until` of them, or `most` instances."""
    first = next(instances)
    contexts = [(first.item.sop_class_uid, (first.item.transfer_syntax_uid,))]
    statuses: list[int] = []
    with Association.request(gateway.remote, calling_ae_title=title, contexts=contexts) as association:
        instance = first
        while sum(status != 0 for status in statuses) < until and len(statuses) < most:
            statuses.append(association.store(instance.item).status)
            instance = next(instances)
    return statuses


def goes_on(gateway: Running, title: str, instances: Iterator[Instance], *, within_s: float) -> bool:
    """Whether an instance is taken again in time."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if send(gateway, title, instances, until=1, most=1) == [0]:
            return True
        time.sleep(0.1)
    return False


def test_a_source_at_its_bound_is_refused_and_the_others_are_not(tmp_path: Path) -> None:
    """A700, the association goes on; when what it sent has gone on, it is taken again, within ten seconds."""
    peers = [
        {"ae_title": "GREEDY", "host": "127.0.0.1", "max_spool_bytes": 2 * _MB},
        {"ae_title": "*", "host": "127.0.0.1"},
    ]
    instances = make_instances(tmp_path, 1, size=100_000)
    with running(tmp_path / "home", peers=peers) as gateway:
        (tmp_path / "home" / "run").mkdir(exist_ok=True)
        statuses = send(gateway, "GREEDY", instances, until=5, most=100)
        assert statuses == [0] * 20 + [0xA700] * 5, "20 of 104,096 bytes are more than two million"
        assert send(gateway, "OTHER", instances, until=1, most=30) == [0] * 30
        _shown(tmp_path / "home" / "run" / "spool.json", refused="GREEDY", items={"GREEDY": 20, "*": 30})

        spool = gateway.spool
        ours = [r.id for r in spool.records() if r.provenance.calling_ae_title == "GREEDY"]
        spool.remove(ours[:5])
        assert goes_on(gateway, "GREEDY", instances, within_s=10)
        spool.close()


def _shown(path: Path, *, refused: str, items: dict[str, int]) -> None:
    """The gateway shows who is refused, and what is there of each."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if path.exists():
            sources = json.loads(path.read_text("utf-8"))["sources"]
            is_told = [row["ae_title"] for row in sources if row["refused"]] == [refused]
            if is_told and {row["ae_title"]: row["items"] for row in sources} == items:
                return
        time.sleep(0.1)
    raise AssertionError(f"{path} does not show that {refused} is refused, and {items}")


def test_the_spool_as_a_whole_has_a_bound(tmp_path: Path) -> None:
    """Whoever sends, and counting what lay there when the gateway began."""
    home = tmp_path / "home"
    shown = home / "run" / "spool.json"
    shown.parent.mkdir(parents=True)
    instances = make_instances(tmp_path, 2, size=100_000)
    with running(home) as gateway:
        assert send(gateway, "CT_1", instances, until=1, most=10) == [0] * 10
        assert not shown.exists(), "nothing is counted where nothing is bounded"
    with running(home, max_spool_bytes=2 * _MB) as gateway:
        deadline = time.monotonic() + 10
        while not shown.exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert send(gateway, "CT_2", instances, until=1, most=100) == [0] * 10 + [0xA700]
        gateway.spool.remove([record.id for record in gateway.spool.arrivals(3)])
        assert goes_on(gateway, "CT_1", instances, within_s=10)
