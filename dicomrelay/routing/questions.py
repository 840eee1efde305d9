"""Tests: one question to one fact, made once of the settings and asked of every instance. No I/O."""

from __future__ import annotations

import hashlib
import ipaddress
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from dicomrelay.dicom.wildcards import Wildcards
from dicomrelay.routing.comparing import COMPARABLE
from dicomrelay.routing.facts import Facts, NotRecorded, Scope
from dicomrelay.routing.naming import Attribute
from dicomrelay.settings import AttributeTest
from dicomrelay.settings.rules import RangeSettings
from dicomrelay.settings.windows import parse_window

MAX_SEEN: Final = 1024
_AUTOMATON_BYTES: Final = 1 << 20
WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True, slots=True)
class Test:
    """One question.

    Attributes
    ----------
    words : str
        The question, for people.
    key : str
        16 hexadecimal digits that say which question it is, in whatever set of rules.
    holds : callable
        Of a scope. Raises NotRecorded where a stored decision does not say.
    seen : callable
        The values that it looked at.
    attribute : Attribute, optional
        What it asks for, where that is in the data set.
    of_one : callable, optional
        The same of the values of one instance.
    """

    words: str
    key: str
    holds: Callable[[Scope], bool]
    seen: Callable[[Scope], list[str]]
    attribute: Attribute | None = None
    of_one: Callable[[tuple[str, ...]], bool] | None = None


def glob_matches(pattern: str, value: str) -> bool:
    """Whether a pattern of `*` and `?` matches the whole value. Leading and trailing spaces are not significant (PS3.5 6.2)."""
    return Wildcards(pattern.strip().upper()).matches(value.strip().upper())


def _key(name: str, told: object) -> str:
    text = json.dumps([name, told], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def _distinct(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


def of_field(name: str, patterns: str | list[str]) -> Test:
    """Patterns for what an association or the header scan says: a field of `Facts`."""
    given = _listed(patterns)
    globs = [Wildcards(each.strip().upper()) for each in given]

    def one(facts: Facts) -> bool:
        value = str(getattr(facts, name)).strip().upper()
        return any(glob.matches(value) for glob in globs)

    return Test(
        f"{name} = {' or '.join(map(repr, given)) or 'nothing'}",
        _key(name, given),
        lambda scope: any(map(one, scope.members)),
        lambda scope: _distinct(getattr(each, name) for each in scope.members),
    )


def of_peer(networks: str | list[str]) -> Test:
    """Addresses and networks; an address that is none, as of a job of this machine, is in none of them."""
    given = _listed(networks)
    wanted = [ipaddress.ip_network(text, strict=False) for text in given]

    def one(facts: Facts) -> bool:
        try:
            address = ipaddress.ip_address(facts.peer_address)
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None) or address
        return any(mapped in network for network in wanted)

    return Test(
        f"peer = {' or '.join(map(repr, given)) or 'nothing'}",
        _key("peer", given),
        lambda scope: any(map(one, scope.members)),
        lambda scope: _distinct(each.peer_address for each in scope.members),
    )


def of_count(name: str, wanted: RangeSettings, count: Callable[[Scope], int]) -> Test:
    """A range for a number that a scope has."""
    low = 0 if wanted.min is None else wanted.min

    def holds(scope: Scope) -> bool:
        value = count(scope)
        return value >= low and (wanted.max is None or value <= wanted.max)

    return Test(
        f"{name} {_range(wanted.min, wanted.max)}",
        _key(name, [wanted.min, wanted.max]),
        holds,
        lambda scope: [str(count(scope))],
    )


def of_time(texts: Sequence[str]) -> Test:
    """Windows of the local day."""
    windows = [parse_window(text) for text in texts]
    return Test(
        f"time = {' or '.join(texts) or 'never'}",
        _key("time", list(texts)),
        lambda scope: any(window.holds(scope.minute) for window in windows),
        lambda scope: [f"{scope.minute // 60:02}:{scope.minute % 60:02}"],
    )


def of_weekday(names: Sequence[str]) -> Test:
    """Days of the local week."""
    return Test(
        f"weekday = {' or '.join(names) or 'never'}",
        _key("weekday", list(names)),
        lambda scope: WEEKDAYS[scope.weekday] in names,
        lambda scope: [WEEKDAYS[scope.weekday]],
    )


def of_attribute(asked: Attribute, wanted: int | float | str | list[str] | AttributeTest) -> Test:
    """What a rule wants of an attribute.

    Raises
    ------
    ValueError
        The regular expression is none, or the range does not go with its VR.
    """
    if isinstance(wanted, AttributeTest):
        told: Any = wanted.model_dump(exclude_none=True)
        words, one = _asked(asked, wanted)
    elif isinstance(wanted, int | float):
        told = wanted
        words, one = _asked(asked, AttributeTest(min=wanted, max=wanted))
    else:
        told = wanted
        words, one = _patterns(wanted)
    key = _key(asked.name, told)

    def holds(scope: Scope) -> bool:
        return any(_of_facts(each) for each in scope.members)

    def _of_facts(facts: Facts) -> bool:
        values = facts.attributes.get(asked.tag)
        if facts.recorded is None:
            return one(values or ())
        if values is not None:
            return one(values)
        held = facts.recorded.get(key)
        if held is None:
            raise NotRecorded(asked.name)
        return held

    return Test(
        f"{asked.name} {words}",
        key,
        holds,
        lambda scope: _distinct(v for each in scope.members for v in each.attributes.get(asked.tag, ())),
        asked,
        one,
    )


def _patterns(wanted: str | list[str]) -> tuple[str, Callable[[tuple[str, ...]], bool]]:
    given = _listed(wanted)
    globs = [Wildcards(each.strip().upper()) for each in given]

    def one(values: tuple[str, ...]) -> bool:
        # What is not there is an empty text: `*` holds of it.
        return any(
            glob.matches(value.strip().upper()[:MAX_SEEN]) for value in values or ("",) for glob in globs
        )

    return f"= {' or '.join(map(repr, given)) or 'nothing'}", one


def _asked(asked: Attribute, test: AttributeTest) -> tuple[str, Callable[[tuple[str, ...]], bool]]:
    if test.present is False:
        return "is not there", lambda values: not any(values)
    words: list[str] = ["is there"] if test.present else []
    wants: list[Callable[[str], bool]] = []
    if test.regex is not None:
        search = _compiled(test.regex)
        wants.append(lambda value: bool(search(value[:MAX_SEEN])))
        words.append(f"has {test.regex!r} in it")
    if test.min is not None or test.max is not None:
        wants.append(_within(asked, test.min, test.max))
        words.append(_range(test.min, test.max))
    return " and ".join(words), lambda values: any(
        all(want(value.strip()) for want in wants) for value in values if value
    )


def _compiled(pattern: str) -> Callable[[str], object]:
    """RE2: linear in the text whatever the pattern is (https://github.com/google/re2)."""
    import re2  # type: ignore[import-untyped] # noqa: PLC0415 - few rules have one

    options = re2.Options()
    options.max_mem = _AUTOMATON_BYTES
    options.log_errors = False
    try:
        search: Callable[[str], object] = re2.compile(pattern, options).search
    except re2.error as error:
        reason = error.args[0] if error.args else error
        words = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise ValueError(f"{pattern!r} is no regular expression of RE2: {words}") from None
    return search


def _within(asked: Attribute, low: object, high: object) -> Callable[[str], bool]:
    kind, value_of = COMPARABLE.get(asked.vr, ("", None))
    if value_of is None:
        vr = asked.vr or "unknown VR"
        raise ValueError(
            f"{asked.name} is of {vr}: min and max are for numbers, dates, times and ages; use a pattern or regex"
        )
    bounds: list[float | None] = []
    for name, given in (("min", low), ("max", high)):
        bound = None if given is None else value_of(str(given))
        if given is not None and bound is None:
            raise ValueError(f"{name} = {str(given)!r} is no {kind}, and {asked.name} is of VR {asked.vr}")
        bounds.append(bound)
    least, most = bounds
    if least is not None and most is not None and least > most:
        raise ValueError(f"min ({low}) is more than max ({high}): nothing is between them")

    def within(value: str) -> bool:
        found = value_of(value)
        return found is not None and (least is None or found >= least) and (most is None or found <= most)

    return within


def _range(low: object, high: object) -> str:
    if low is not None and high is not None:
        return f"= {low}" if low == high else f"from {low} to {high}"
    return f"at least {low}" if low is not None else f"at most {high}"
