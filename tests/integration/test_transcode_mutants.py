"""Damaged instances through the decoding child: an answer for each, and the child lives."""

from __future__ import annotations

import collections
import random
from pathlib import Path

from dicomrelay.dicom.part10 import parse_file_meta
from dicomrelay.errors import NotTranscodable
from dicomrelay.transcode import Source, Workshop, producible
from tests.support.data_sets import real_files

_MUTANTS = 1_000
_SMALL_BYTES = 100_000


def test_a_thousand_damaged_instances_have_an_answer_each(tmp_path: Path) -> None:
    """Bytes changed and ends cut off, by a seed; what comes out is a copy or a reason, and no fault of ours."""
    chance = random.Random(20_261_121)
    bases = []
    for path, row in real_files("corpus"):
        if row["parse"] == "part10" and path.stat().st_size < _SMALL_BYTES:
            data = path.read_bytes()
            meta = parse_file_meta(data[:65_536])
            if producible(meta.transfer_syntax_uid):
                bases.append((meta.transfer_syntax_uid, data[meta.data_set_offset :]))
    answers: collections.Counter[str] = collections.Counter()
    mutant = tmp_path / "mutant"
    with Workshop(tmp_path / "copies") as workshop:
        for _ in range(_MUTANTS):
            syntax, base = chance.choice(bases)
            data = bytearray(base)
            for _ in range(chance.randint(1, 6)):
                data[chance.randrange(len(data))] = chance.randrange(256)
            if chance.random() < 0.2:
                del data[chance.randrange(len(data)) :]
            mutant.write_bytes(data)
            source = Source(mutant, 0, len(data), syntax)
            try:
                workshop.discard(workshop.copy(source, chance.choice(producible(syntax))))
                answers["copied"] += 1
            except NotTranscodable as error:
                ours = "fault of ours" in str(error) or "died" in str(error)
                answers[str(error) if ours else "refused"] += 1
    assert answers["copied"] > 100
    assert answers["refused"] > 100
    assert answers.keys() == {"copied", "refused"}
    assert not list((tmp_path / "copies").iterdir())
