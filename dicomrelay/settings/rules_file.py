"""A file of rules: read whole, or refused with every line that is wrong."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import Field, ValidationError

from dicomrelay.errors import ConfigurationError
from dicomrelay.settings.fields import Section
from dicomrelay.settings.places import Loc, line_of
from dicomrelay.settings.rules import RuleSettings

# More is no set of rules that anybody wrote.
MAX_BYTES: Final = 4 << 20
_NONE: Final = (
    "there is none: a file of rules has at least one. One without `when` sends all that comes to its send_to; without "
    "rules_file in the settings everything goes to every destination"
)
_AT: Final = re.compile(r"^(.*) \(at line (\d+), column \d+\)$", re.DOTALL)


class _RulesFile(Section):
    """What may stand in a file of rules."""

    rules: list[RuleSettings] = Field([], max_length=10_000)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with a file of rules; `line` counts from 1, None where it is about no line."""

    line: int | None
    key: str
    reason: str

    def told(self, origin: str) -> str:
        """In one line, with the file before it."""
        where = origin if self.line is None else f"{origin}:{self.line}"
        return f"{where}: {self.key}: {self.reason}" if self.key else f"{where}: {self.reason}"


class RulesFileError(ConfigurationError):
    """A file of rules is refused; `problems` are all that is wrong with it, `sound` the rules that can be read, by position."""

    def __init__(
        self, origin: str, problems: Iterable[Problem], sound: Mapping[int, RuleSettings] | None = None
    ) -> None:
        self.problems = tuple(problems)
        self.sound = sound or {}
        super().__init__("\n".join(problem.told(origin) for problem in self.problems))


def read_rules_text(path: Path) -> str:
    """The text of a file of rules.

    Raises
    ------
    RulesFileError
        It cannot be read, is no UTF-8, or is larger than any set of rules.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise RulesFileError(str(path), [Problem(None, "", f"cannot be read: {error.strerror}")]) from error
    if len(raw) > MAX_BYTES:
        raise RulesFileError(str(path), [Problem(None, "", f"is larger than {MAX_BYTES} bytes")])
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise RulesFileError(str(path), [Problem(line, "", f"is not UTF-8 (byte {error.start})")]) from error


def parse_rules(text: str, origin: str) -> list[RuleSettings]:
    """The rules of a text.

    Raises
    ------
    RulesFileError
        It is no TOML, has no [[rules]], or a key is unknown or wrong.
    """
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = _AT.match(str(error))
        # Else at the end of the document.
        line, reason = (int(found[2]), found[1]) if found else (len(text.splitlines()), str(error))
        raise RulesFileError(origin, [Problem(line, "", f"is not valid TOML: {reason}")]) from error
    except RecursionError as error:
        raise RulesFileError(origin, [Problem(None, "", "is nested too deeply")]) from error
    try:
        rules = _RulesFile.model_validate(values).rules
    except ValidationError as error:
        raise RulesFileError(origin, problems_of(error, text, values), _sound(values)) from error
    if not rules:
        # Without rules everything goes everywhere, as it arrived: an empty file is more often half of one.
        raise RulesFileError(origin, [Problem(None, "rules", _NONE)])
    return rules


def _sound(values: dict[str, Any]) -> dict[int, RuleSettings]:
    """The rules that can be read by themselves, by their positions."""
    found: dict[int, RuleSettings] = {}
    rules = values.get("rules")
    for number, rule in enumerate(rules if isinstance(rules, list) else ()):
        with suppress(ValidationError):
            found[number] = RuleSettings.model_validate(rule)
    return found


def problems_of(error: ValidationError, text: str, values: object = None) -> list[Problem]:
    """What pydantic found, with the lines where it stands."""
    found: dict[tuple[int | None, str, str], Problem] = {}
    for item in error.errors(include_url=False, include_input=False, include_context=False):
        reason = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            reason = "there is no such setting (docs/reference/settings.md lists them)"
        loc = place_in(values, item["loc"])
        problem = Problem(line_of(text, loc), ".".join(map(str, loc)), reason)
        found[problem.line, problem.key, problem.reason] = problem
    return sorted(found.values(), key=lambda each: each.line or 0)


def place_in(values: Any, loc: Loc) -> Loc:
    """A place without what pydantic adds to it: the kinds of a value that may be of several."""
    if values is None:
        return loc
    place: list[str | int] = []
    for number, part in enumerate(loc):
        is_last = number == len(loc) - 1
        in_list = isinstance(values, list) and isinstance(part, int) and part < len(values)
        if in_list or (isinstance(values, dict) and part in values):
            values = values[part]
        elif not (is_last and isinstance(values, dict) and str(part).isidentifier() and part not in _KINDS):
            continue
        place.append(part)
    return tuple(place)


_KINDS: Final = frozenset({"int", "float", "str", "AttributeTest", "[key]"})
