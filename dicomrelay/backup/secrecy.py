"""What of the settings is secret, and the text of a relay.toml without it. No I/O."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from pydantic import BaseModel, SecretStr

from dicomrelay.errors import ConfigurationError

# A comment, or a literal of text in one of TOML's four kinds (toml.io, v1.0.0, String). Long ones first.
_TOKEN: Final = re.compile(
    r"""\#[^\n]*
    | \"\"\"(?:\\.|[^\\])*?\"\"\"{1,3}
    | '''.*?'''{1,3}
    | "(?:\\.|[^"\\\n])*"
    | '[^'\n]*'""",
    re.VERBOSE | re.DOTALL,
)
LEFT_OUT: Final = "false"
HEADER: Final = (
    "# Written by `dicomrelay backup`, without secrets: where one stood, `false` stands. "
    "Put them in before the relay starts.\n"
)
_IN_COMMENT: Final = "(left out)"
# What is shorter stands in a text by chance.
_SHORTEST: Final = 4


def secrets(settings: BaseModel) -> dict[str, str]:
    """Key → value of everything secret in the settings: a hash of a secret is none, nor is a URL without a password."""
    return dict(_secrets(settings, ""))


def _secrets(value: object, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _secrets(getattr(value, name), f"{key}.{name}" if key else name)
    elif isinstance(value, Mapping):
        for name, each in value.items():
            yield from _secrets(each, f"{key}.{name}")
    elif isinstance(value, list | tuple):
        for number, each in enumerate(value):
            yield from _secrets(each, f"{key}.{number}")
    elif isinstance(value, SecretStr):
        text = value.get_secret_value()
        if text and not key.endswith("hash") and not (key.endswith("url") and is_open(text)):
            yield key, text


def is_open(url: str) -> bool:
    """Whether a URL holds no password: neither before the host, nor as one of libpq's words."""
    parts = urlsplit(url)
    if parts.scheme in {"http", "https"}:  # of a webhook: its path may be the secret
        return False
    return parts.password is None and not {"password", "sslpassword"} & set(parse_qs(parts.query))


def redacted(text: str, values: Iterable[str], where: str) -> str:
    """A TOML text in which no secret is left; everything else is byte for byte as it was.

    Raises
    ------
    ConfigurationError
        A secret stands in it in a way that cannot be taken out, such as a part of another text.
    """
    wanted = {value for value in values if value}
    known = sorted((value for value in wanted if len(value) >= _SHORTEST), key=len, reverse=True)

    def without(match: re.Match[str]) -> str:
        token = match[0]
        if token.startswith("#"):
            for value in known:
                token = token.replace(value, _IN_COMMENT)
            return token
        names_a_key = text[match.end() :].lstrip(" \t")[:1] in {"=", "."}
        return LEFT_OUT if not names_a_key and _meant(token) in wanted else token

    result = _TOKEN.sub(without, text)
    if result == text:
        return text
    if any(value in result for value in known):
        raise ConfigurationError(
            f"{where}: a secret stands in it as a part of another text, and cannot be left out: move it to a file of its own, or "
            "say --secrets"
        )
    tomllib.loads(result)  # what is restored can be read
    return HEADER + result


def _meant(literal: str) -> str | None:
    try:
        found: Any = tomllib.loads(f"x = {literal}")["x"]
    except tomllib.TOMLDecodeError:
        return None
    return found if isinstance(found, str) else None


def open_variables(environment: Mapping[str, str], values: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """The DICOMRELAY_* variables without those that hold a secret, and the names of those."""
    wanted = [value for value in values if value]
    kept: dict[str, str] = {}
    left: list[str] = []
    for name in sorted(environment):
        if not name.upper().startswith("DICOMRELAY_"):
            continue
        value = environment[name]
        if any(value == each or (len(each) >= _SHORTEST and each in value) for each in wanted):
            left.append(name)
        else:
            kept[name] = value
    return kept, left
