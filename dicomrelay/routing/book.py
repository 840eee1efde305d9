"""The rules in force: those of the settings, or of a file of their own, read again when it changes."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeAlias

from dicomrelay.errors import ConfigurationError
from dicomrelay.log import get_logger
from dicomrelay.routing.checking import Finding, Known, check, check_alone
from dicomrelay.routing.rules import RuleSet
from dicomrelay.settings import RuleSettings, Settings
from dicomrelay.settings.places import line_of
from dicomrelay.settings.rules_file import Problem, RulesFileError, parse_rules, read_rules_text

_log = get_logger("dicomrelay.rules")
_Seen: TypeAlias = tuple[int, int, int, int] | None
# Who writes a file writes it in parts: one that was not touched for so long is taken for whole.
SETTLE_S: Final = 1.0
_LOOKS: Final = 10
_OF_SETTINGS = "the settings"


def known_names(settings: Settings) -> Known:
    """What rules may name, by these settings."""
    return Known(
        destinations=[each.name for each in settings.destinations],
        edits=[each.name for each in settings.edits],
        # Only these have a study to begin with.
        pulls=[each.name for each in settings.pulls if each.priors is not None],
        deidentifying=[each.name for each in settings.edits if each.deidentify is not None],
        unedited=[each.name for each in settings.destinations if each.edits is None],
    )


def rule_set(settings: Settings, file: Path | None = None) -> RuleSet:
    """The rules of a file, ready to be asked; without one those that the settings have or name.

    Raises
    ------
    RulesFileError
        The file cannot be read, or something is wrong with it; every line that is.
    ConfigurationError
        Something is wrong with those of the settings.
    """
    path = file or settings.rules_path
    if path is None:
        refuse_errors(settings.rules, settings, _OF_SETTINGS, "")
        return RuleSet(settings.rules, settings.destinations, origin=_OF_SETTINGS)
    text = read_rules_text(path)
    return rule_set_of(settings, text, str(path))


def rule_set_of(settings: Settings, text: str, origin: str) -> RuleSet:
    """The rules of a text; `origin` names it in errors. Raises RulesFileError."""
    try:
        rules = parse_rules(text, origin)
    except RulesFileError as error:
        also = [problem(each, text) for each in check_alone(error.sound, known_names(settings))]
        if not also:
            raise
        raise RulesFileError(
            origin, sorted([*error.problems, *also], key=lambda each: each.line or 0)
        ) from error
    refuse_errors(rules, settings, origin, text)
    try:
        settings.with_rules(rules)
    except ValueError as error:
        key, _, reason = str(error).partition(": ")
        loc = tuple(int(part) if part.isdecimal() else part for part in key.split("."))
        raise RulesFileError(origin, [Problem(line_of(text, loc), key, reason)]) from error
    return RuleSet(rules, settings.destinations, origin=origin)


def refuse_errors(rules: Sequence[RuleSettings], settings: Settings, origin: str, text: str) -> None:
    """Raise RulesFileError when something is wrong with rules, in what they name or how they ask."""
    found = check(rules, known_names(settings))
    errors = [problem(each, text) for each in found if each.is_error]
    if errors:
        raise RulesFileError(origin, errors)


def problem(finding: Finding, text: str) -> Problem:
    """A finding, with the line where it stands."""
    return Problem(line_of(text, finding.loc), ".".join(map(str, finding.loc)), finding.reason)


def warnings_of(rules: Sequence[RuleSettings], settings: Settings, text: str = "") -> list[Problem]:
    """What looks wrong and is none."""
    found = check(rules, known_names(settings))
    return [problem(each, text) for each in found if not each.is_error]


def _places(error: ConfigurationError) -> list[str]:
    """The lines and keys that are wrong, or the kind of the error."""
    if isinstance(error, RulesFileError):
        return [f"{'' if each.line is None else each.line}:{each.key}" for each in error.problems[:20]]
    return [type(error).__name__]


def _seen(state: os.stat_result) -> _Seen:
    return state.st_ino, state.st_size, state.st_mtime_ns, state.st_dev


def _identity(seen: _Seen) -> str:
    return "-".join(map(str, seen or ()))


def identity_of(path: Path) -> str:
    """Which file is under a name now, other than any that was there before; "" where there is none."""
    try:
        return _identity(_seen(path.stat()))
    except OSError:
        return ""


class RuleBook:
    """The rules in force, for a process that goes on: `current` before each batch.

    A file is taken when nobody has touched it for `settle_s`: half of a set of rules is one too, and other rules than
    anybody wrote. A file that does not pass changes nothing: the rules before stay in force, and the log says why, once.

    Parameters
    ----------
    settings : Settings
    settle_s : float
        Also waited for here, where the file is younger.

    Raises
    ------
    ConfigurationError
        There are no rules to begin with: something is wrong with them.
    """

    def __init__(self, settings: Settings, *, settle_s: float = SETTLE_S) -> None:
        self._settings = settings
        self._path = settings.rules_path
        self._settle_s = settle_s
        # Why the file as it is now is not in force, in lines as `rules check` has them; "" where it is.
        self.refused = ""
        self._lock = threading.Lock()
        self._seen, rest_s = self._look()
        self._found, self._found_at = self._seen, time.monotonic()
        for _ in range(_LOOKS):
            if rest_s <= 0:
                break
            # By our own clock: that of the file's machine may be another.
            time.sleep(settle_s)
            before, (self._seen, rest_s) = self._seen, self._look()
            if self._seen == before:
                break
        self._rules = rule_set(settings)

    @property
    def judged(self) -> str:
        """Which file was judged last, as `identity_of` has it."""
        return _identity(self._seen)

    def current(self) -> RuleSet:
        """The rules as they are now: one look at the name, the size and the times of the file."""
        if self._path is not None:
            with self._lock:
                self._look_again()
        return self._rules

    def _look_again(self) -> None:
        found, rest_s = self._look()
        if found == self._seen:
            self._found = found
        elif found != self._found:
            self._found, self._found_at = found, time.monotonic()
        if found != self._seen and (rest_s <= 0 or time.monotonic() - self._found_at >= self._settle_s):
            self._take(found)

    def _take(self, found: _Seen) -> None:
        fresh: RuleSet | None = None
        try:
            fresh = rule_set(self._settings)
        except ConfigurationError as error:
            refused = error
        if self._look()[0] != found:
            return  # somebody writes it just now: it is looked at again
        self._seen = found
        if fresh is None:
            self.refused = str(refused)
            _log.error(
                "the rules are refused, those before stay in force",
                action="rules.refused",
                version=self._rules.version,
                # No word of the file itself: a pattern may name a patient.
                where=_places(refused),
                advice="`dicomrelay rules check` says what is wrong",
            )
            return
        _log.info(
            "rules in force",
            action="rules.loaded",
            version=fresh.version,
            before=self._rules.version,
            rules=len(fresh.rules),
        )
        self.refused = ""
        self._rules = fresh

    def _look(self) -> tuple[_Seen, float]:
        """What the file is, and for how many seconds more nobody may touch it; a file that is gone is no reason to wait for."""
        if self._path is None:
            return None, 0.0
        try:
            state = self._path.stat()
        except OSError:
            return None, self._settle_s
        touched = max(state.st_mtime, state.st_ctime)
        return _seen(state), self._settle_s - (time.time() - touched)
