"""The reference pages and the code say the same."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path

import pytest
from pydantic import BaseModel, SecretStr

from dicomrelay import errors, settings
from dicomrelay.errors import ConfigurationError, ExitCode, RelayError
from tests.support import cli_page, markdown, settings_page

REFERENCE = markdown.ROOT / "docs" / "reference"
EXIT_CODES = REFERENCE / "exit-codes.md"

# Keys whose value is held to a form; any other text is taken as it is.
FORMS = {
    "database.url": "postgresql://user:secret@db.example/relay",
    "broker.url": "redis://broker.example:6379/0",
    "monitor.host": "127.0.0.2",
    "metrics.host": "127.0.0.2",
    "alerts.webhooks": '[{"name": "duty", "url": "https://alerts.example/hook"}]',
    "traces.ratio": "0.5",
    "traces.endpoint": "http://127.0.0.1:4318/v1/traces",
    "alerts.mail.sender": "relay@example.org",
    "alerts.mail.recipients": '["team@example.org"]',
    "metrics.token": "OTHER-TOKEN-OF-MORE-THAN-16",
    "archive.path": "/srv/archive",
    "archive.url": "s3://images/clinic",
    "archive.endpoint": "https://s3.example.org:9000",
    "archive.retention.rules": '[{"days": 365.0}]',
    "renditions.rules": '[{"make": ["thumbnail"]}]',
    "gateway.private_sop_classes": '["1.2.826.0.1.*"]',
    "gateway.identity.users": '[{"name": "ALICE"}]',
    "gateway.identity.token.algorithms": '["ES256"]',
    "streamer.access.token": "OTHER-TOKEN-OF-MORE-THAN-16",
    "streamer.public_url": "https://images.example/dicom",
    "performed_procedure_steps.destinations": '[{"name": "ris", "ae_title": "RIS", "host": "10.0.0.30"}]',
    "performed_procedure_steps.others_may": '["get"]',
    "worklist.hidden": '["COMPLETED"]',
    "streamer.cors_origins": '["https://viewer.example"]',
    "streamer.proxies": '["10.0.0.9"]',
}
# What a table that may be left out, or a key of one, cannot be without.
TOGETHER = {
    "archive": {"URL": "s3://bucket", "ACCESS_KEY_ID": "AKIA", "SECRET_ACCESS_KEY": "secret"},
    "audit.syslog": {"HOST": "audit.example"},
    "audit.syslog.tls": {"CERTIFICATE": "/srv/us.pem"},
    "broker": {"URL": "rediss://h"},
    "broker.tls": {"CERTIFICATE": "/srv/us.pem"},
    "database": {"URL": "postgresql://h/x"},
    "database.tls": {"CERTIFICATE": "/srv/us.pem"},
    "alerts.mail": {"HOST": "mail.example", "SENDER": "a@example.org", "RECIPIENTS": '["b@example.org"]'},
    "gateway.tls": {"CERTIFICATE": "/srv/gateway.pem"},
    "gateway.identity": {"USERS": '[{"name": "BOB"}]'},
    "gateway.identity.token": {"KEY_FILE": "/srv/issuer.pem", "ISSUER": "HIS", "AUDIENCE": "US"},
    "metrics.tls": {"CERTIFICATE": "/srv/us.pem"},
    "monitor.tls": {"CERTIFICATE": "/srv/us.pem"},
    "streamer.access": {"USER": "OTHER", "PASSWORD": "OTHER"},
    "streamer.tls": {"CERTIFICATE": "/srv/us.pem"},
}


@pytest.fixture(autouse=True)
def _no_settings_of_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the variables nor a relay.toml of whoever runs the tests."""
    for name in [name for name in os.environ if name.upper().startswith("DICOMRELAY_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def variable_rows() -> Iterator[tuple[str, settings_page.Row]]:
    for name, _, model, repeats in settings_page.sections():
        if not repeats:
            for row in settings_page.rows(model, name, repeats=False):
                if row.variable and row.kind != "table":
                    yield name, row


def another_value(section: str, row: settings_page.Row) -> str:
    """A valid value that is not the default."""
    if f"{section}.{row.key}" in FORMS:
        return FORMS[f"{section}.{row.key}"]
    if row.kind == "true or false":
        return "false" if row.default == "true" else "true"
    if row.kind in {"whole number", "number"}:
        return f"{float(row.default) + 1:.12g}" if row.default != "none" else "1"
    if row.kind.startswith("`"):
        return next(
            choice for choice in row.kind.replace("`", "").split(" or ") if choice not in row.default
        ).strip('"')
    return "OTHER"


def test_the_settings_page_says_what_the_settings_classes_say() -> None:
    """The page is what the code gives; `python -m tests.support.settings_page` writes it anew."""
    assert settings_page.render() == settings_page.PAGE.read_text("utf-8")


def test_every_setting_has_a_description() -> None:
    """No key is left for the reader to guess."""
    silent = [
        f"{heading} {row.key}"
        for name, heading, model, repeats in settings_page.sections()
        for row in settings_page.rows(model, name, repeats=repeats)
        if not row.meaning
    ]

    assert not silent


@pytest.mark.parametrize(
    ("section", "row"), list(variable_rows()), ids=lambda value: getattr(value, "variable", str(value))
)
def test_the_variable_of_the_page_sets_the_key_of_the_page(
    section: str, row: settings_page.Row, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each variable that the page names reaches its key."""
    value = another_value(section, row)
    for table, keys in TOGETHER.items():
        if f"{section}.{row.key}".startswith(f"{table}."):
            for key, needed in keys.items():
                monkeypatch.setenv(f"DICOMRELAY_{table.replace('.', '__')}__{key}".upper(), needed)
    monkeypatch.setenv(row.variable, value)
    if row.key in {"user", "password"}:  # they only go together
        monkeypatch.setenv("DICOMRELAY_MONITOR__USER", "OTHER")
        monkeypatch.setenv("DICOMRELAY_MONITOR__PASSWORD", "OTHER")
    if row.key in {"mail.user", "mail.password", "mail.password_file"}:
        other = "PASSWORD" if row.key == "mail.user" else "USER"
        monkeypatch.setenv(f"DICOMRELAY_ALERTS__MAIL__{other}", "OTHER")

    loaded = attrgetter(f"{section}.{row.key}")(settings.load(home=tmp_path))

    if isinstance(loaded, list):
        plain = [
            each.model_dump(exclude_unset=True) if isinstance(each, BaseModel) else each for each in loaded
        ]
        assert json.loads(value) == plain
        return
    text = loaded.get_secret_value() if isinstance(loaded, SecretStr) else loaded
    assert value == (str(text).lower() if isinstance(text, bool) else str(text).removesuffix(".0"))


def test_a_list_of_tables_is_one_variable_with_json(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The example of the page works as it stands there."""
    page = settings_page.PAGE.read_text("utf-8")
    variable, value = page.split("JSON: `")[1].split("`")[0].split("=", 1)
    monkeypatch.setenv(variable, value.strip("'"))

    peers = settings.load(home=tmp_path).peers

    assert json.loads(value.strip("'")) == [peer.model_dump(exclude_unset=True) for peer in peers]


def test_a_key_that_is_not_on_the_page_is_refused_by_name(tmp_path: Path) -> None:
    """As the page promises, an unknown key is an error that names file and key."""
    (tmp_path / "relay.toml").write_text('[gateway]\nae_titel = "X"\n')

    with pytest.raises(ConfigurationError, match=r"relay\.toml: gateway\.ae_titel: there is no such setting"):
        settings.load(home=tmp_path)


def test_the_page_of_exit_codes_lists_every_code() -> None:
    """Number and name of each code are on the page, and no others."""
    page = {(int(code), name.strip("`")) for code, name, _ in markdown.table_rows(EXIT_CODES, "code")}

    assert {(code.value, code.name) for code in ExitCode} == page


def every_error(base: type[RelayError] = RelayError) -> Iterator[type[RelayError]]:
    for child in base.__subclasses__():
        if child.__module__ == errors.__name__:
            yield child
            yield from every_error(child)


def test_the_page_of_exit_codes_lists_every_error() -> None:
    """Each error of the house is on the page with its code and whether another try is worth it."""
    page = {
        name.strip("`"): (int(code), again) for name, code, again in markdown.table_rows(EXIT_CODES, "error")
    }
    code = {
        error.__name__: (error.exit_code.value, "yes" if error.retryable else "no") for error in every_error()
    }
    code["AssociationRejected"] = (ExitCode.UNREACHABLE.value, "when the rejection is transient (result 2)")

    code["TlsFailed"] = (ExitCode.UNREACHABLE.value, "when it is the peer's trouble of the moment")
    of_the_moment = "when the status is 408, 429 or a 5xx (501 and 505 apart)"
    code["HttpRefused"] = (ExitCode.UNREACHABLE.value, of_the_moment)

    assert code == page
    assert errors.AssociationRejected("busy", result=2, source=3, reason=2).retryable
    assert not errors.AssociationRejected("unknown", result=1, source=1, reason=7).retryable


def test_the_page_of_commands_says_what_the_program_says() -> None:
    """The page is what `--help` gives; `python -m tests.support.cli_page` writes it anew."""
    assert cli_page.render() == cli_page.PAGE.read_text("utf-8")
