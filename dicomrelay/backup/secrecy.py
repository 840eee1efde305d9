"""What of the settings is secret, and the text of a relay.toml without it. No I/O."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from inspect import isclass
from typing import Any, Final, get_args
from urllib.parse import parse_qs, urlsplit

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from dicomrelay.errors import ConfigurationError
from dicomrelay.settings import Settings

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
# What somebody has put out of force: a key with its value, and a URL with a password.
_COMMENTED: Final = re.compile(r"""([\w-]+)(["']?\s*=\s*)("(?:\\.|[^"\\\n])*"|'[^'\n]*')""")
_PASSWORD_OF_URL: Final = re.compile(r"(://[^\s/:@\"']*:)[^\s/@\"']+(?=@)")
# What is shorter stands in a text by chance.
_SHORTEST: Final = 4


def secrets(settings: BaseModel) -> dict[str, str]:
    """Key → value of everything secret in the settings: a hash of a secret is none, nor is a URL without a password."""
    return dict(_secrets(settings, ""))


def written_secrets(values: Mapping[str, Any]) -> dict[str, str]:
    """The same of what stands in a settings file, also where a variable has the last word and the file none."""
    return {key: text for key, text in _written(values, Settings, "", hidden=False) if _counts(key, text)}


def _secrets(value: object, key: str, *, hidden: bool = False) -> Iterator[tuple[str, str]]:
    if isinstance(value, BaseModel):
        for name, info in type(value).model_fields.items():
            below = f"{key}.{name}" if key else name
            yield from _secrets(getattr(value, name), below, hidden=not info.repr)
    elif isinstance(value, Mapping):
        for name, each in value.items():
            yield from _secrets(each, f"{key}.{name}", hidden=hidden)
    elif isinstance(value, list | tuple):
        for number, each in enumerate(value):
            yield from _secrets(each, f"{key}.{number}", hidden=hidden)
    elif isinstance(value, SecretStr) or (hidden and isinstance(value, str)):
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if _counts(key, text):
            yield key, text


def _written(value: object, annotation: Any, key: str, *, hidden: bool) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        if hidden or SecretStr in _parts(annotation):
            yield key, value
    elif isinstance(value, Mapping):
        models = [each for each in _parts(annotation) if isclass(each) and issubclass(each, BaseModel)]
        for name, each in value.items():
            below = f"{key}.{name}" if key else name
            found = [info for model in models for info in _named(model, name)]
            for info in found:
                yield from _written(each, info.annotation, below, hidden=not info.repr)
            if not found:
                yield from _written(each, annotation, below, hidden=hidden)
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from _written(each, annotation, f"{key}.{number}", hidden=hidden)


def _parts(annotation: Any) -> Iterator[Any]:
    """A type, and those it is made of; not those of the fields of a model."""
    yield annotation
    for each in get_args(annotation):
        yield from _parts(each)


def _named(model: type[BaseModel], name: str) -> list[FieldInfo]:
    return [info for known, info in model.model_fields.items() if name in (known, info.alias)]


@cache
def secret_names() -> frozenset[str]:
    """Names of all keys, in whatever section, whose value is secret."""
    found: set[str] = set()
    seen: set[type[BaseModel]] = set()
    waiting: list[type[BaseModel]] = [Settings]
    while waiting:
        model = waiting.pop()
        for name, info in model.model_fields.items():
            parts = list(_parts(info.annotation))
            if SecretStr in parts or not info.repr:
                found.add(name)
            models = {each for each in parts if isclass(each) and issubclass(each, BaseModel)} - seen
            seen |= models
            waiting += models
    return frozenset(found)


def _counts(key: str, text: str) -> bool:
    return bool(text) and not key.endswith("hash") and not (key.endswith("url") and is_open(text))


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
            return _PASSWORD_OF_URL.sub(rf"\1{_IN_COMMENT}", _COMMENTED.sub(_put_out_of_force, token))
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


def _put_out_of_force(match: re.Match[str]) -> str:
    text = _meant(match[3])
    if match[1] in secret_names() and (text is None or _counts(match[1], text)):
        return f'{match[1]}{match[2]}"{_IN_COMMENT}"'
    return match[0]


def _meant(literal: str) -> str | None:
    try:
        found: Any = tomllib.loads(f"x = {literal}")["x"]
    except tomllib.TOMLDecodeError:
        return None
    return found if isinstance(found, str) else None


def open_variables(
    environment: Mapping[str, str], values: Iterable[str] | None
) -> tuple[dict[str, str], list[str]]:
    """The DICOMRELAY_* variables without those that hold a secret, and the names of those; all of them where `values` is None."""
    wanted = None if values is None else [value for value in values if value]
    kept: dict[str, str] = {}
    left: list[str] = []
    for name in sorted(environment):
        if not name.upper().startswith("DICOMRELAY_"):
            continue
        if wanted is not None and _tells(name, environment[name], wanted):
            left.append(name)
        else:
            kept[name] = environment[name]
    return kept, left


def _tells(name: str, value: str, wanted: Iterable[str]) -> bool:
    key = name.lower().rpartition("__")[2]
    if key in secret_names() and _counts(key, value):
        return True
    return any(value == each or (len(each) >= _SHORTEST and each in value) for each in wanted)
