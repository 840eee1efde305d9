"""What an installation shows: TLS where it is set and no way around it, secrets nowhere but where they were put."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from dicomrelay.cli.main import cli
from dicomrelay.settings import Settings
from tests.support import cli_page
from tests.support.markdown import ROOT

PACKAGES = ("dicomrelay", "scp_gateway", "workers", "archive", "streamer", "monitor")
_SECRET = re.compile(r"(^|_)(password|passcode|secret|token|passphrase|secret_access_key)($|_)")
# Names with such a word in them that hold none: the path of one, where one is fetched.
_NO_SECRET = re.compile(r"_(file|hash|url|ca)$")


def _fields(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        yield f"{path}{name}", field
        for choice in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(choice, type) and issubclass(choice, BaseModel) and choice is not model:
                yield from _fields(choice, f"{path}{name}.")


def test_every_secret_of_the_settings_is_of_a_type_that_does_not_print() -> None:
    """By its name; a table, a path and a hash are none."""
    found = dict(_fields(Settings))
    secrets = {
        path: field
        for path, field in found.items()
        if _SECRET.search(path.rpartition(".")[2]) and not _NO_SECRET.search(path.rpartition(".")[2])
    }
    plain = [
        path
        for path, field in secrets.items()
        if not any(
            choice is SecretStr or (isinstance(choice, type) and issubclass(choice, BaseModel))
            for choice in (field.annotation, *getattr(field.annotation, "__args__", ()))
        )
    ]
    assert len(secrets) > 8
    assert plain == []


def test_no_option_or_argument_of_a_command_takes_a_secret() -> None:
    """A list of processes shows them to everybody."""
    taking = [
        f"{name} {option}"
        for name, command in cli_page.commands()
        for parameter in command.params
        if not (isinstance(parameter, click.Option) and parameter.is_flag)
        for option in parameter.opts
        if _SECRET.search(option.strip("-").replace("-", "_"))
        and not option.endswith(("-file", "_file"))
        and not isinstance(parameter.type, click.Path | click.File)
    ]
    assert "users" in cli.list_commands(click.Context(cli))
    # A token has a name, which says which one to take back.
    assert [each for each in taking if not each.startswith("users token ")] == []


def test_there_is_no_way_to_leave_out_the_check_of_a_certificate() -> None:
    """Neither by a setting nor in the code: not one place turns it off."""
    off = re.compile(
        r"CERT_NONE|verify\s*=\s*False|check_hostname\s*=\s*False|_create_unverified|ssl_cert_reqs.*none"
    )
    hits = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        for line in path.read_text("utf-8").splitlines()
        if off.search(line)
    ]
    # `doctor` asks its own gateway, on this machine, whether it is there: nothing but C-ECHO is said.
    allowed = ("dicomrelay/cli/checks/ports.py",)
    assert [hit for hit in hits if not hit.startswith(allowed)] == []


def test_there_is_no_shell_and_no_code_of_text() -> None:
    """Programs are started from lists of arguments; nothing is evaluated, unpickled or loaded from YAML."""
    words = re.compile(
        r"shell\s*=\s*True|os\.system\(|os\.popen\(|\beval\(|(?<![.\w])exec\(|pickle\.loads?\(|yaml\.load\(|__import__\("
    )
    hits = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        for line in path.read_text("utf-8").splitlines()
        if words.search(line)
    ]
    assert hits == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"metrics": {"host": "0.0.0.0", "port": 9100}}, "token"),
        ({"peers": [{"ae_title": "X", "tls": True}]}, "the gateway speaks none"),
        ({"broker": {"url": "redis://h/0", "tls": {}}}, "rediss"),
    ],
)
def test_what_would_be_open_is_refused(given: dict[str, object], words: str, tmp_path: Path) -> None:
    """Before anything listens."""
    with pytest.raises(ValidationError, match=words):
        Settings.model_validate({"home": tmp_path, **given})


def test_settings_that_are_printed_show_no_secret(tmp_path: Path) -> None:
    """As text, as JSON and in an error about something else."""
    secret = "VERY-SECRET-4711-AND-LONG"
    given = {
        "home": tmp_path,
        "broker": {"url": f"redis://:{secret}@h:6379/0"},
        "database": {"url": f"postgresql://u:{secret}@h/x"},
        "monitor": {"user": "eva", "password": secret},
        "streamer": {"access": {"token": secret}},
        "metrics": {"token": secret},
        "destinations": [
            {"name": "a", "ae_title": "A", "host": "h", "identity": {"user": "u", "passcode": secret}}
        ],
    }
    settings = Settings.model_validate(given)
    assert secret not in repr(settings)
    assert secret not in settings.model_dump_json()
