"""docs/reference/settings.md, written from the settings classes.

`python -m tests.support.settings_page` writes the page anew; a test fails while page and code differ.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from dicomrelay.settings import Settings

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "settings.md"

INTRODUCTION = """\
# Settings

<!-- Written by `python -m tests.support.settings_page` from dicomrelay/settings; a test compares the two. -->

A setting is looked for in this order; the first that has it wins:

1. an option of the command, such as `--home`;
2. the environment: `DICOMRELAY_` and the key, with two underscores between section and key
   (`DICOMRELAY_GATEWAY__PORT=11113`);
3. the file: `--config FILE`, else `DICOMRELAY_CONFIG`, else `relay.toml` in the home, else `relay.toml` in the
   current folder. One file is read, the first that is there;
4. the default on this page.

A key that is not on this page is an error that names the key and where it stands, in the file and in the environment.
A duration ends in `_s` or `_seconds` and is in seconds; a size ends in `_bytes` and is in bytes.
Lists of tables (`[[peers]]`, `[[destinations]]`, `[[rules]]`) are one variable each in the environment, with the whole
list as JSON: `DICOMRELAY_PEERS='[{"ae_title": "CT_*", "host": "10.0.0.0/24"}]'`.
"""

LIST_ITEM_NOTES = {
    "peers": "With none given, any AE title may call from loopback, and do everything, and nobody from elsewhere.",
    "destinations": "Repeat the heading for each destination.",
    "users": "With none, and no users file, the streamer and Flower ask nobody. "
    "[Say who may use it](../howto/users-and-roles.md) has examples.",
    "edits": "Repeat the heading for each profile. [Change what goes out](../howto/change-what-goes-out.md) has examples.",
    "rules": "Every rule that fits an instance adds its destinations, and the highest priority counts; when none "
    "fits, it goes to the archive only. With no rule at all, every instance goes to every destination. "
    "[Rules](../howto/rules.md) has examples.",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One key as the page shows it; `variable` is empty for keys of a list's items."""

    key: str
    kind: str
    default: str
    bounds: str
    variable: str
    meaning: str


def sections() -> Iterator[tuple[str, str, type[BaseModel], bool]]:
    """(name, heading, class, whether it repeats) of every section, in the order of the code."""
    for name, field in Settings.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield name, f"[{name}]", annotation, False
        elif name in LIST_ITEM_NOTES:
            yield name, f"[[{name}]]", annotation.__args__[0], True  # type: ignore[union-attr]


def rows(model: type[BaseModel], section: str, *, repeats: bool, prefix: str = "") -> Iterator[Row]:
    """One row a key; a table inside a table gives a row of its own when it may be left out, and dotted keys.

    A table that may hold another of its kind gives one row for that.
    """
    whole = model.model_json_schema()
    if "properties" not in whole:  # of a table in a table of its kind
        whole = {**whole, **whole["$defs"][model.__name__]}
    properties = whole["properties"]
    for name, field in model.model_fields.items():
        key = field.alias or name
        path = f"{section}__{key}" if section else key
        variable = "" if repeats else f"DICOMRELAY_{path}".upper()
        table, is_list = _table_of(field)
        if table is model:
            yield Row(prefix + key, "table", "none", "", variable, field.description or "")
            continue
        if table is not None:
            if table is not field.annotation:
                kind = "list of tables" if is_list else "table"
                yield Row(prefix + key, kind, "none", "", variable, field.description or "")
            # A list of tables is one variable, with JSON.
            yield from rows(table, path, repeats=repeats or is_list, prefix=f"{prefix}{key}.")
            continue
        schema = _without_null(properties[key])
        if "$ref" in schema:  # an enumeration has a definition of its own
            schema = whole["$defs"][schema["$ref"].rpartition("/")[2]]
        yield Row(
            prefix + key, _kind(schema), _default(field), _bounds(schema), variable, field.description or ""
        )


def _table_of(field: FieldInfo) -> tuple[type[BaseModel] | None, bool]:
    """The class of a key that is a table of its own, one that may be left out too, and whether it is a list of them."""
    is_list = getattr(field.annotation, "__origin__", None) is list
    for choice in (field.annotation, *getattr(field.annotation, "__args__", ())):
        if isinstance(choice, type) and issubclass(choice, BaseModel):
            return choice, is_list
    return None, False


def render() -> str:
    """The whole page."""
    top = [(name, Settings.model_fields[name]) for name in ("home", "rules_file")]
    parts = [INTRODUCTION, "\n## At the top of the file\n\n"]
    parts.append(
        _table(
            [
                Row(name, "path", _default(field), "", f"DICOMRELAY_{name}".upper(), field.description or "")
                for name, field in top
            ],
            repeats=False,
        )
    )
    parts.append("\nA relative home is taken from the current folder. `~` is your own folder.\n")
    for name, heading, model, repeats in sections():
        summary = (model.__doc__ or "").strip()
        parts.append(f"\n## `{heading}`\n\n{summary}")
        parts.append(f" {LIST_ITEM_NOTES[name]}\n\n" if repeats else "\n\n")
        parts.append(_table(list(rows(model, name, repeats=repeats)), repeats=repeats))
    return "".join(parts)


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    choices = [choice for choice in schema.get("anyOf", []) if choice.get("type") != "null"]
    if len(choices) == 1:
        return dict(choices[0])
    return {"type": "text or list of texts"} if choices else schema


def _kind(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return " or ".join(f'`"{value}"`' for value in schema["enum"])
    if schema["type"] == "array":
        choices = schema.get("items", {}).get("enum", ())
        if "$ref" in schema.get("items", {}):
            return "list of tables"
        return "list of " + (", ".join(f'`"{value}"`' for value in choices) or "texts")
    if schema["type"] == "string":
        return {"path": "path", "password": "text (secret)"}.get(schema.get("format", ""), "text")
    return {"object": "table", "integer": "whole number", "number": "number", "boolean": "true or false"}.get(
        schema["type"], str(schema["type"])
    )


def _bounds(schema: dict[str, Any]) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    if "exclusiveMinimum" in schema:
        above = f"more than {_number(schema['exclusiveMinimum'])}"
        return f"{above}, at most {_number(high)}" if high is not None else above
    if low is not None and high is not None:
        return f"{_number(low)} to {_number(high)}"
    if low is not None:
        return f"at least {_number(low)}"
    if "maxLength" in schema:
        return f"{schema.get('minLength', 0)} to {schema['maxLength']} characters"
    return ""


def _number(value: float) -> str:
    """As one may write it in TOML: 1_000_000, but 11112."""
    if not float(value).is_integer():
        return str(value)
    return f"{value:_.0f}" if value >= 1_000_000 else f"{value:.0f}"


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "required"
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if value == {}:
        return "none"
    if isinstance(value, list):
        return f"`{json.dumps(value)}`" if value else "none"
    return _number(value) if isinstance(value, int | float) else f'`"{value}"`'


def _table(table_rows: list[Row], *, repeats: bool) -> str:
    heads = ["key", "type", "default", "range", "meaning"] + ([] if repeats else ["variable"])
    lines = [heads, ["---"] * len(heads)]
    for row in table_rows:
        cells = [f"`{row.key}`", row.kind, row.default, row.bounds, row.meaning.replace("|", "\\|")]
        lines.append(cells if repeats else [*cells, f"`{row.variable}`" if row.variable else ""])
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
    sys.stderr.write(f"written: {PAGE.name}\n")
