"""Where settings come from."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from pydantic_settings import BaseSettings, InitSettingsSource, SettingsError
from pydantic_settings import PydanticBaseSettingsSource as Source

from dicomrelay.errors import ConfigurationError
from dicomrelay.settings.model import DEFAULT_HOME, Settings
from dicomrelay.settings.places import Loc, line_of
from dicomrelay.settings.rules_file import place_in

CONFIG_NAME: Final = "relay.toml"
_KEY_OF_RULES: Final = re.compile(r"(rules\.\d+(?:\.\w+)*): ")


def load(
    *, config: Path | None = None, home: Path | None = None, overrides: Mapping[str, Any] | None = None
) -> Settings:
    """Settings from the command line, the environment and the file, in that order of weight.

    Parameters
    ----------
    config : Path, optional
        The TOML file. Without one, DICOMRELAY_CONFIG, then `relay.toml` in the home and in the current folder.
    home : Path, optional
        Wins over `DICOMRELAY_HOME` and the file.
    overrides : mapping, optional
        Nested values from options.

    Raises
    ------
    ConfigurationError
        The file cannot be read, is no TOML, or a key is unknown or wrong; the message names file and key.
    """
    path = config_path(config, home)
    text = _read_text(path) if path else ""
    file_values = _parsed(path, text) if path else {}
    _refuse_unknown_variables()

    class Loaded(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: Source,
            env_settings: Source,
            *_: Source,
            **__: Source,
        ) -> tuple[Source, ...]:
            return init_settings, env_settings, InitSettingsSource(settings_cls, init_kwargs=file_values)

    try:
        settings = Loaded(**{**(overrides or {}), **({"home": home} if home else {})})
    except (ValidationError, SettingsError) as error:
        raise ConfigurationError(_explain(error, str(path or "settings"), text, file_values)) from error
    return settings.model_copy(update={"home": settings.home.expanduser().absolute()})


def config_path(config: Path | None = None, home: Path | None = None) -> Path | None:
    """The file that `load` reads, given the same; None where there is none."""
    named = config or (Path(os.environ["DICOMRELAY_CONFIG"]) if os.environ.get("DICOMRELAY_CONFIG") else None)
    if named:
        return named.expanduser().absolute()
    root = home or Path(os.environ.get("DICOMRELAY_HOME") or DEFAULT_HOME)
    candidates = (root.expanduser() / CONFIG_NAME, Path(CONFIG_NAME))
    return next((path.absolute() for path in candidates if path.is_file()), None)


def _read_text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: is not UTF-8 (byte {error.start})") from error


def _parsed(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path}: is not valid TOML: {error}") from error
    except RecursionError as error:
        raise ConfigurationError(f"{path}: is nested too deeply") from error


def _refuse_unknown_variables() -> None:
    known = {*Settings.model_fields, "config"}
    for variable in os.environ:
        if variable.upper().startswith("DICOMRELAY_"):
            section = variable[len("DICOMRELAY_") :].lower().split("__")[0]
            if section not in known:
                raise ConfigurationError(
                    f"{variable}: there is no setting {section!r}; known: {', '.join(sorted(known))}"
                )


def _explain(
    error: ValidationError | SettingsError, origin: str, text: str, values: Mapping[str, Any]
) -> str:
    if isinstance(error, SettingsError):
        return f"{origin}: {error}: a list or a table in a variable is written as JSON"
    lines = []
    for item in error.errors(include_url=False, include_input=False, include_context=False):
        key = ".".join(str(part) for part in item["loc"])
        variable = "DICOMRELAY_" + "__".join(str(part) for part in item["loc"]).upper()
        where = variable if variable in os.environ else origin
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            message = "there is no such setting (docs/reference/settings.md lists them)"
        loc = _of_rules(item["loc"], message)
        if loc and where == origin and "rules" in values:
            # Of rules many stand below each other, and their keys are alike.
            place = place_in(values, loc)
            line = line_of(text, place)
            where, key = (where if line is None else f"{where}:{line}"), ".".join(map(str, place))
            message = message.removeprefix(f"{key}: ")
        told = f"{where}: {key}: {message}" if key else f"{where}: {message}"
        if told not in lines:
            lines.append(told)
    return "\n".join(lines)


def _of_rules(loc: Loc, message: str) -> Loc:
    """Where in the rules something is wrong; () where it is elsewhere. What the sections say together begins with the key."""
    if loc:
        return loc if loc[0] == "rules" else ()
    found = _KEY_OF_RULES.match(message)
    if found is None:
        return ()
    return tuple(int(part) if part.isdecimal() else part for part in found[1].split("."))
