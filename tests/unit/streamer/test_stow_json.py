"""DICOM JSON as instances: each value is stored as it was sent, or its instance is refused (PS3.18 Annex F)."""

from __future__ import annotations

import io
import json
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from dicomrelay.dimse.messages import CStoreRequest
from dicomrelay.net.service import StoreReply, StoreSink
from dicomrelay.spool import Provenance
from scp_gateway.web_intake import WebIntake
from streamer.stow.content_type import Form
from streamer.stow.file_part import Kept
from streamer.stow.json_values import NotStorable, storable
from streamer.stow.outcomes import Failed, Outcome, Stored
from streamer.stow.session import Body
from tests.support.stow import settings_of, spooled

JSON = "application/dicom+json"
INFINITE = float("inf")
NAME = {"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎"}
ORIGIN = Provenance("STOW-RS", "DICOMRELAY", "127.0.0.1", "stow-1", 1)


@pytest.mark.parametrize(
    ("vr", "values", "made"),
    [
        ("AT", ["0020910a"], None),
        ("CS", ["ORIGINAL", None, "AXIAL"], None),
        ("DS", [1.5, "2.50", -3, 1e15, ""], ["1.5", "2.50", "-3", "1.0000000000e+15", ""]),
        ("FD", [1, 0.1], [1.0, 0.1]),
        ("FL", [3.4e38], None),
        ("IS", [7, " 8", 9.0, ""], ["7", " 8", "9", ""]),
        ("LO", ["Müller", ""], None),
        ("LT", ["a\\b"], None),
        ("PN", [NAME, {}, "A^B"], None),
        ("SL", [-(2**31)], None),
        ("SV", [-(2**63), "5"], [-(2**63), 5]),
        ("UR", ["http://h/a\\b"], None),
        ("US", [65_535, 3.0], [65_535, 3]),
        ("UT", ["x" * 70_000], None),
        ("UV", [2**64 - 1], None),
    ],
)
def test_what_is_of_its_vr_is_kept(vr: str, values: list[Any], made: list[Any] | None) -> None:
    """Numbers in the form that the VR has for them."""
    found = storable("00080001", {"vr": vr, "Value": values})

    assert found == {"vr": vr, "Value": made or values}
    assert [*map(type, found["Value"])] == [*map(type, made or values)]


@pytest.mark.parametrize("vr", ["LO", "US", "PN", "AT", "DS", "OB", "UN"])
def test_what_is_empty_stays_empty(vr: str) -> None:
    """Without a value, with none, or with null alone."""
    assert storable("00080001", {"vr": vr}) == {"vr": vr}
    assert storable("00080001", {"vr": vr, "Value": []}).get("Value", []) == []
    if vr not in {"OB", "UN"}:
        assert storable("00080001", {"vr": vr, "Value": [None]}) == {"vr": vr}


@pytest.mark.parametrize(
    "element",
    [
        *({"vr": "AT", "Value": [each]} for each in ("zz", "0010001", 0x00100010, "0010,0010")),
        *({"vr": "UL", "Value": [each]} for each in (1.5, -1, 2**32, True, "1.0", INFINITE, {})),
        *({"vr": "US", "Value": each} for each in ([10**9], [1, None], 5, "5", [1] * 40_000)),
        {"vr": "SS", "Value": [40_000]},
        {"vr": "SV", "Value": [2**63]},
        {"vr": "UV", "Value": [-1]},
        *({"vr": "FL", "Value": [each]} for each in (1e300, "x", INFINITE, 10**400, False)),
        *({"vr": "FD", "Value": [each]} for each in ("1", float("nan"), [1])),
        *({"vr": "DS", "Value": [each]} for each in (INFINITE, 1 / 3, "1,5", "1\\2", "1" * 17, 10**400, True)),
        *({"vr": "IS", "Value": [each]} for each in (10**400, 2**31, 1.5, "1.5", "x", "0" * 13)),
        *({"vr": "PN", "Value": [{"Alphabetic": each}]} for each in ("\ud800", "A\\B", "A=B", ["a"], 5, None)),
        *({"vr": "PN", "Value": [each]} for each in ({"Name": "A"}, 7, "A\\B")),
        *({"vr": "LO", "Value": each} for each in (["a\\b"], [5], ["\ud800"], "a", ["a" * 70_000], {})),
        {"vr": "CS", "Value": ["é"]},
        {"vr": "LT", "Value": ["a", "b"]},
        {"vr": "OB", "Value": [5]},
        *({"vr": "OB", "InlineBinary": each} for each in ("!!!", "QUJD*!*RA==", "QUI", 5, ["QQ==", "QQ=="], "é")),
        {"vr": "OW", "InlineBinary": "QUJD"},
        {"vr": "OB", "Value": [], "InlineBinary": "QUJD"},
        {"vr": "LO", "InlineBinary": "QUJD"},
        {"vr": "\ud800", "Value": ["x"]},
        {"vr": "ox", "Value": ["x"]},
    ],
)  # fmt: skip
def test_what_would_be_lost_or_changed_is_refused(element: dict[str, Any]) -> None:
    """With the tag, and without the value."""
    with pytest.raises(NotStorable) as refused:
        storable("00081234", element)

    words = str(refused.value)
    assert words.startswith("00081234 ")
    assert words.isascii()


def base(uid: str, **more: Any) -> dict[str, Any]:
    return {
        "00080016": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.88.11"]},
        "00080018": {"vr": "UI", "Value": [uid]},
        "0020000D": {"vr": "UI", "Value": ["1.2.3"]},
        "0020000E": {"vr": "UI", "Value": ["1.2.3.4"]},
        **more,
    }


def stored(home: Path, models: list[Any]) -> list[Outcome]:
    """What becomes of them on their way into the spool of a home."""
    with closing(WebIntake(settings_of(home), wake=lambda: None)) as intake:

        def begin(sop_class: str, instance: str, syntax: str, kept: Kept) -> StoreSink | StoreReply:
            request = CStoreRequest(1, sop_class, instance)
            return intake.begin(request, syntax, ORIGIN, study_instance_uid="", kept=kept)

        body = Body(Form(JSON), begin)
        body.take([json.dumps(models).encode()])
        body.finish()
        return body.outcomes


def test_each_value_comes_back_as_it_was_sent(tmp_path: Path) -> None:
    """From the spool, in sequences too."""
    inside = {
        "00080060": {"vr": "CS", "Value": ["SR"]},
        "00100010": {"vr": "PN", "Value": [NAME]},
        "0040A30A": {"vr": "DS", "Value": [2.5, 1e15]},
    }
    sent = {
        "00081160": {"vr": "IS", "Value": [1, 2]},
        "00209165": {"vr": "AT", "Value": ["00189074"]},
        "00280010": {"vr": "US", "Value": [65_535]},
        "0040A730": {"vr": "SQ", "Value": [inside, {}]},
        "00420011": {"vr": "OB", "InlineBinary": "QUJDRA=="},
        "00700022": {"vr": "FL", "Value": [0.25, -1.5]},
        "00720082": {"vr": "SV", "Value": [-(2**63)]},
    }

    assert isinstance(stored(tmp_path, [base("1.2.9", **sent)])[0], Stored)

    _, data_set = spooled(tmp_path)["1.2.9"]
    found = json.loads(dcmread(io.BytesIO(data_set), force=True).to_json())
    assert {tag: found[tag] for tag in sent} == sent
    assert found["00080005"]["Value"] == ["ISO_IR 192"]


def test_one_that_cannot_be_written_costs_itself_alone(tmp_path: Path) -> None:
    """By name and tag; deep in a sequence too. The others are stored."""
    bad = {"vr": "US", "Value": [10**9]}
    item = partial(dict, vr="SQ")
    models = [
        base("1.2.1", **{"00280010": bad}),
        base("1.2.2"),
        base("1.2.3", **{"0040A730": item(Value=[{"0040A730": item(Value=[{"00280010": bad}])}])}),
        base("1.2.4", **{"0040A730": item(Value={})}),
        base("1.2.5", **{"0020000e": {"vr": "UI", "Value": ["1.2.3.5"]}}),
    ]

    found = stored(tmp_path, models)

    assert [type(each) for each in found] == [Failed, Stored, Failed, Failed, Failed]
    failed = [each for each in found if isinstance(each, Failed)]
    assert [each.sop_instance_uid for each in failed] == ["1.2.1", "1.2.3", "1.2.4", "1.2.5"]
    assert [each.comment[:8] for each in failed] == ["00280010", "00280010", "0040A730", "0020000E"]
    assert [*spooled(tmp_path)] == ["1.2.2"]
