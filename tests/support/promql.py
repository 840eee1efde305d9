"""Which families, labels and values an expression of PromQL names. Enough of its grammar for rules and dashboards of ours.

https://prometheus.io/docs/prometheus/latest/querying/basics/
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""(?P<space>\s+)|(?P<text>"(?:[^"\\]|\\.)*")|(?P<range>\[[^\]]*\])|(?P<number>[0-9][0-9.eE]*[a-z]*)"""
    r"""|(?P<word>[a-zA-Z_:$][a-zA-Z0-9_:$]*)|(?P<sign>=~|!~|!=|==|>=|<=|[-+*/%^(){},=<>@])"""
)
_BY = {"by", "without", "on", "ignoring", "group_left", "group_right"}
_WORDS = _BY | {"and", "or", "unless", "bool", "offset"}


@dataclass(frozen=True)
class Selector:
    """One use of a metric; `wanted` has (label, operator, value)."""

    name: str
    wanted: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class Expression:
    """What stands in it: metrics, labels that it groups or matches by, functions."""

    selectors: tuple[Selector, ...]
    labels: frozenset[str]
    functions: frozenset[str]


def tokens(text: str) -> list[tuple[str, str]]:
    """Kind and text of each, without spaces. Raises ValueError."""
    found, at = [], 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ValueError(f"{text!r}: cannot be read at {text[at:]!r}")
        if match.lastgroup != "space":
            found.append((str(match.lastgroup), match[0]))
        at = match.end()
    return found


def read(text: str) -> Expression:
    """What an expression names. Raises ValueError where brackets do not close."""
    rest = tokens(text)
    _balanced(text, rest)
    selectors, labels, functions = [], set(), set()
    at = 0
    while at < len(rest):
        kind, word = rest[at]
        following = rest[at + 1][1] if at + 1 < len(rest) else ""
        at += 1
        if kind != "word":
            continue
        if word in _BY and following == "(":
            at += 1
            while rest[at][1] != ")":
                if rest[at][0] == "word":
                    labels.add(rest[at][1])
                at += 1
        elif word in _WORDS:
            continue
        elif following == "(" or following in {"by", "without"}:
            functions.add(word)
        else:
            wanted, at = _matchers(rest, at) if following == "{" else ((), at)
            selectors.append(Selector(word, wanted))
    return Expression(tuple(selectors), frozenset(labels), frozenset(functions))


def _matchers(rest: list[tuple[str, str]], at: int) -> tuple[tuple[tuple[str, str, str], ...], int]:
    at += 1
    found = []
    while rest[at][1] != "}":
        label, operator, value = (text for _, text in rest[at : at + 3])
        if rest[at][0] != "word" or operator not in {"=", "=~", "!=", "!~"} or rest[at + 2][0] != "text":
            raise ValueError(f"no matcher: {label} {operator} {value}")
        found.append((label, operator, value[1:-1]))
        at += 3
        if rest[at][1] == ",":
            at += 1
    return tuple(found), at + 1


def _balanced(text: str, rest: list[tuple[str, str]]) -> None:
    open_ones: list[str] = []
    for _, word in rest:
        if word in "({":
            open_ones.append({"(": ")", "{": "}"}[word])
        elif word in ")}" and (not open_ones or open_ones.pop() != word):
            raise ValueError(f"{text!r}: {word} closes nothing")
    if open_ones:
        raise ValueError(f"{text!r}: {open_ones[-1]} is missing")
