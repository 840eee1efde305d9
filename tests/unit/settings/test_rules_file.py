"""Files of rules: each error with its line and its reason (docs/design/rules.md)."""

from __future__ import annotations

from pathlib import Path

import pytest

from dicomrelay.errors import ConfigurationError
from dicomrelay.routing.rules import RuleSet
from dicomrelay.settings import load
from dicomrelay.settings.places import line_of
from dicomrelay.settings.rules_file import RulesFileError, parse_rules, read_rules_text

GOOD = """# what goes where
[[rules]]
name = "first"
send_to = ["pacs"]

[[rules]]
send_to = ["pacs"]
when.modality = "CT"
[rules.when.attributes]
PatientAge = { min = "018Y" }
StudyDate = { min = 2026-01-02, max = 2026-03-04 }

[[rules.when.any]]
modality = "CT"
[[rules.when.any]]
source_ae_title = [
  "CT_*",
  "ER_*",
]
"""


def refused(text: str) -> list[tuple[int | None, str, str]]:
    with pytest.raises(RulesFileError) as caught:
        parse_rules(text, "rules.toml")
    return [(each.line, each.key, each.reason) for each in caught.value.problems]


def test_a_file_of_rules_is_read() -> None:
    """Dates of TOML are as DICOM writes them."""
    first, second = parse_rules(GOOD, "rules.toml")
    assert (first.name, second.send_to) == ("first", ["pacs"])
    dates = second.when.attributes["StudyDate"]
    assert (dates.min, dates.max) == ("20260102", "20260304")  # type: ignore[union-attr]
    assert [each.source_ae_title for each in second.when.any_of or ()] == [None, ["CT_*", "ER_*"]]


@pytest.mark.parametrize(
    ("loc", "line"),
    [
        (("rules", 0), 2),
        (("rules", 0, "name"), 3),
        (("rules", 1, "when", "modality"), 8),
        (("rules", 1, "when", "attributes", "PatientAge", "min"), 10),
        (("rules", 1, "when", "attributes", "StudyDate", "max"), 11),
        (("rules", 1, "when", "any", 1), 15),
        (("rules", 1, "when", "any", 1, "source_ae_title", 1), 16),
        (("rules", 1, "nothing"), 6),
        (("others",), None),
    ],
)
def test_a_key_has_a_line(loc: tuple[str | int, ...], line: int | None) -> None:
    """What is not there has that of the table that it would stand in."""
    assert line_of(GOOD, loc) == line


@pytest.mark.parametrize(
    ("text", "line", "key", "words"),
    [
        ("[[rules]]\nsend_to = [\n'a'\n", 3, "", "is not valid TOML"),
        ("[[rules]]\nsend_to = ['pacs']\nsendto = 1\n", 3, "rules.0.sendto", "there is no such setting"),
        ("[[rules]]\n[[rules]]\nwhen = { modalty = 'CT' }\n", 3, "rules.1.when.modalty", "no such setting"),
        ("[[rules]]\npriority = 'high'\n", 2, "rules.0.priority", "should be 'urgent', 'normal' or 'bulk'"),
        ("", None, "rules", "there is none: a file of rules has at least one"),
        ("# [[rules]]\n", None, "rules", "there is none"),
        ("rules = []\n", None, "rules", "there is none"),
        ("x = 1\n[[rules]]\n", 1, "x", "there is no such setting"),
        ("[[rules]]\n\nwindows = ['25:00-26:00']\n", 3, "rules.0.windows", "is no time window"),
        (
            "[[rules]]\n[rules.when]\npeer = 'ct-1'\n",
            3,
            "rules.0.when.peer",
            "is no IP address",
        ),
        (
            "[[rules]]\n[rules.when.bytes]\nmin = 2\nmax = 1\n",
            2,
            "rules.0.when.bytes",
            "nothing is between them",
        ),
        (
            "[[rules]]\nwhen = { attributes = { PatientAge = {} } }\n",
            2,
            "rules.0.when.attributes.PatientAge",
            "say regex, min, max or present",
        ),
        (
            "[[rules]]\ntrigger = 'study'\narchive = true\n",
            1,
            "rules.0",
            'archive: trigger = "study" comes too late',
        ),
        ("[[rules]]\nstop = 1\n", 2, "rules.0.stop", "valid boolean"),
        ("[[rules]]\narchive = 'yes'\n", 2, "rules.0.archive", "valid boolean"),
        ("[[rules]]\ndelay_s = '5'\n", 2, "rules.0.delay_s", "valid number"),
        ("[[rules]]\nwhen.bytes = { min = '3' }\n", 2, "rules.0.when.bytes.min", "valid integer"),
        (
            "[[rules]]\nwhen.attributes = { SeriesNumber = true }\n",
            2,
            "rules.0.when.attributes.SeriesNumber",
            "valid integer",
        ),
        ("[[rules]]\nedits = 'basic'\n", 1, "rules.0", "edits: the rule sends nothing"),
    ],
)
def test_every_error_has_its_line_and_its_reason(text: str, line: int | None, key: str, words: str) -> None:
    """Also of what is said in tables inside of tables."""
    problems = refused(text)
    assert any((line, key) == each[:2] and words in each[2] for each in problems), problems


def test_all_errors_are_told_at_once() -> None:
    """In the order of their lines."""
    lines = [line for line, _, _ in refused("[[rules]]\na = 1\n[[rules]]\nb = 1\npriority = 'x'\n")]
    assert lines == [2, 4, 5]


def test_trees_that_are_too_deep_are_refused() -> None:
    """Sixteen are enough for anybody."""
    deep = "{ modality = 'CT' }"
    for _ in range(16):
        deep = f"{{ not = {deep} }}"
    ((_, _, reason),) = refused(f"[[rules]]\nwhen = {deep}\n")
    assert "more than 16 deep" in reason


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """Missing, no text, or far too large."""
    for name, content, words in (
        ("missing", None, "cannot be read"),
        ("latin", b"a = 1\n# caf\xe9\n", ":2: is not UTF-8"),
        ("large", b"#" * (4 << 20) + b"#", "is larger than"),
    ):
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(RulesFileError, match=words):
            read_rules_text(path)


def test_a_mark_at_the_beginning_is_no_rule(tmp_path: Path) -> None:
    """As editors of Windows put it there; lines count from the same place."""
    path = tmp_path / "rules.toml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert read_rules_text(path) == GOOD


def test_rules_of_the_settings_have_lines_too(tmp_path: Path) -> None:
    """What a section alone finds wrong, and what does not go with another."""
    (tmp_path / "relay.toml").write_text('[[rules]]\nsend_to = []\n\n[[rules]]\n\nsend_to = ["paks"]\n')
    with pytest.raises(
        ConfigurationError, match=r"relay\.toml:6: rules\.1\.send_to: there is no destination 'paks'"
    ):
        load(home=tmp_path)
    (tmp_path / "relay.toml").write_text("[study]\n[[rules]]\nwhen = { modalty = 'CT' }\n")
    with pytest.raises(ConfigurationError, match=r"relay\.toml:3: rules\.0\.when\.modalty: there is no such"):
        load(home=tmp_path)


def test_the_examples_of_the_how_to_are_rules() -> None:
    """As they stand there."""
    page = (Path(__file__).parents[3] / "docs" / "howto" / "rules.md").read_text("utf-8")
    blocks = [each.partition("```")[0] for each in page.split("```text\n")[1:]]
    found = [parse_rules(block, "rules.md") for block in blocks if "[[rules]]" in block]
    assert [len(each) for each in found] == [2, 1]
    assert RuleSet(found[1], []).decides_later


def test_rules_stand_in_one_place(tmp_path: Path) -> None:
    """Nobody should have to guess which of them count."""
    (tmp_path / "relay.toml").write_text('rules_file = "rules.toml"\n[[rules]]\n')
    with pytest.raises(ConfigurationError, match="rules_file: there are"):
        load(home=tmp_path)
