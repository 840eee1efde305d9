"""Whose bytes a host may look for, and where."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.rooms import as_if_shared, rooms_at, spooled
from workers.group import group_arrivals
from workers.keep import archive_batch
from workers.locating import locate


def test_what_is_in_another_hosts_spool_alone_is_tried_again(tmp_path: Path) -> None:
    """It is not lost and not damaged: an answer of ours would be a lie. Once archived it is read there."""
    with rooms_at(tmp_path / "home") as (alone, _):
        rooms = as_if_shared(alone)
        spooled(rooms, "1.2.3.4")
        group_arrivals(rooms)
        facts = rooms.ledger.inventory.kept(["1.2.3.4"])["1.2.3.4"].facts
        elsewhere = replace(rooms, host="another-0123abcd")
        for foreign in (facts, replace(facts, source_path="/a/file/of/that/host")):
            with pytest.raises(OSError, match="another host's spool") as error:
                locate(elsewhere, foreign)
            assert error.value.errno == errno.EAGAIN
        assert locate(rooms, facts).is_relative_to(rooms.settings.path("spool"))

        archive_batch(rooms)
        facts = rooms.ledger.inventory.kept(["1.2.3.4"])["1.2.3.4"].facts
        assert locate(elsewhere, facts).is_relative_to(rooms.settings.archive_path)
