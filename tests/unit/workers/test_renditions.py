"""What the rules have made, once frames are indexed; nothing that goes wrong holds an instance up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from archive.renditions.cache import RenditionCache
from archive.renditions.renditions import Renditions
from archive.renditions.request import MIDDLE, REPRESENTATIVE, PictureRequest, thumbnail
from dicomrelay.settings.renditions import RenditionRuleSettings
from tests.support.archive import pydicom_file
from tests.support.rooms import rooms_at
from tests.unit.workers.test_keep import _referred_to
from workers.group import group_arrivals
from workers.keep import archive_batch, frames_batch
from workers.renditions import wanted_of

RULES = """
[[renditions.rules]]
modality = ["CT"]
make = ["thumbnail", "preview", "htj2k"]
[[renditions.rules]]
make = ["thumbnail"]
"""


def test_rules_add_up() -> None:
    rules = [
        RenditionRuleSettings(modality=["CT", "MR"], make=["preview"]),
        RenditionRuleSettings(make=["thumbnail", "preview"]),
    ]
    assert wanted_of(rules, "CT") == ["preview", "thumbnail"]
    assert wanted_of(rules, "US") == ["thumbnail", "preview"]
    assert wanted_of(rules[:1], "US") == []


def test_rules_of_routing_have_renditions_made_too(tmp_path: Path) -> None:
    """Of what they match, and by what was decided when it came."""
    toml = '[[rules]]\nwhen.modality = "CT"\nrenditions = ["thumbnail"]\n[[rules]]\n'
    with rooms_at(tmp_path / "home", toml) as (plain, _):
        kept = RenditionCache(plain.settings.renditions_path, max_bytes=1 << 30)
        renditions = Renditions(plain.archive, kept)
        rooms = replace(plain, renditions=renditions)
        try:
            records = [_referred_to(rooms, pydicom_file(name)) for name in ("CT_small.dcm", "MR_small.dcm")]
            group_arrivals(rooms)
            archive_batch(rooms)
            assert frames_batch(rooms) == 2
            made = [
                renditions.kept_picture(
                    rooms.archive.find(
                        each.study_instance_uid, each.series_instance_uid, each.sop_instance_uid
                    ),
                    MIDDLE,
                    thumbnail(),
                )
                for each in records
            ]
            assert [each is not None for each in made] == [True, False]
        finally:
            renditions.close()


def test_what_the_rules_say_is_made_and_the_rest_is_not_held_up(tmp_path: Path) -> None:
    with rooms_at(tmp_path / "home", RULES) as (plain, _):
        kept = RenditionCache(plain.settings.renditions_path, max_bytes=1 << 30)
        renditions = Renditions(plain.archive, kept)
        rooms = replace(plain, renditions=renditions)
        try:
            records = [_referred_to(rooms, pydicom_file(name)) for name in ("CT_small.dcm", "test-SR.dcm")]
            group_arrivals(rooms)
            archive_batch(rooms)
            assert frames_batch(rooms) == 2
            assert rooms.ledger.due(limit=9, host=rooms.host).frames_pending == 0
            image = rooms.archive.find(
                records[0].study_instance_uid, records[0].series_instance_uid, records[0].sop_instance_uid
            )
            assert renditions.kept_picture(image, MIDDLE, thumbnail()) is not None
            assert renditions.kept_picture(image, REPRESENTATIVE, PictureRequest()) is not None
            assert len([path for path in (kept.root / "kept").rglob("*") if path.is_file()]) == 3
        finally:
            renditions.close()
