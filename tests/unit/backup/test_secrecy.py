"""What of the settings is secret, and a relay.toml without it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomrelay.backup.named_files import Named, is_secret, named_files
from dicomrelay.backup.secrecy import HEADER, is_open, open_variables, redacted, secrets, written_secrets
from dicomrelay.errors import ConfigurationError
from dicomrelay.settings import load

TOML = """\
# the hospital's relay; the password was hunter2-old once
[monitor]
user = "anna"   # no secret
password = "hunter2-old"

[database]
url = "postgresql://relay:pgpass99@db.example/relay"

[broker]
url = 'redis://broker.example:6379/0'

[[users]]
name = "anna"
role = "viewer"
password_hash = "scrypt$2$2$x"
"""


def test_secrets_are_what_the_settings_call_so(tmp_path: Path) -> None:
    """Passwords and URLs with one; no hash, and no URL without."""
    (tmp_path / "relay.toml").write_text(TOML.partition("[[users]]")[0])

    found = secrets(load(home=tmp_path))

    assert found == {
        "monitor.password": "hunter2-old",
        "database.url": "postgresql://relay:pgpass99@db.example/relay",
    }


def test_a_toml_without_its_secrets_is_otherwise_the_same(tmp_path: Path) -> None:
    """Comments, order and spaces stay, and no secret is left, not in a comment either."""
    values = ["hunter2-old", "postgresql://relay:pgpass99@db.example/relay"]

    text = redacted(TOML, values, "relay.toml")

    assert not any(value in text for value in [*values, "pgpass99"])
    assert text.startswith(HEADER)
    assert 'user = "anna"   # no secret\npassword = false\n' in text
    assert "the password was (left out) once" in text
    before, after = tomllib.loads(TOML), tomllib.loads(text)
    assert after["monitor"].pop("password") is False
    assert after["database"].pop("url") is False
    del before["monitor"]["password"], before["database"]["url"]
    assert after == before


def test_a_relay_does_not_start_with_what_was_left_out(tmp_path: Path) -> None:
    """`false` is no password: the key is named."""
    text = redacted(TOML.partition("[[users]]")[0], ["hunter2-old"], "relay.toml")
    (tmp_path / "relay.toml").write_text(text)

    with pytest.raises(ConfigurationError, match=r"monitor\.password"):
        load(home=tmp_path)


def test_without_a_secret_not_a_byte_is_changed() -> None:
    """Nor is a header put above."""
    assert redacted(TOML, [], "relay.toml") == TOML


def test_a_secret_inside_another_text_is_refused() -> None:
    """What cannot be taken out is not given away."""
    text = 'a = "hunter2-old"\nb = "user:hunter2-old"\n'

    with pytest.raises(ConfigurationError, match="--secrets"):
        redacted(text, ["hunter2-old"], "relay.toml")


@pytest.mark.parametrize(
    "literal",
    ['"s3cret\\u0021x"', "'s3cret!x'", '"""s3cret!x"""', "'''s3cret!x'''", '"""\ns3cret!x"""', '"s3cret\\x"'],
)
def test_every_kind_of_literal_is_found(literal: str) -> None:
    """Also one that is written with escapes. (The last is no TOML, and stays.)"""
    text = f'first = "# no comment"\nkey = {literal}\n"s3cret!x" = 1\n'
    is_toml = "\\x" not in literal

    if is_toml:
        parsed = tomllib.loads(text)
        parsed["key"] = False
        with pytest.raises(ConfigurationError):  # the key of that name cannot go
            redacted(text, ["s3cret!x"], "relay.toml")
        plain = text.replace('"s3cret!x" = 1\n', "")
        assert tomllib.loads(redacted(plain, ["s3cret!x"], "x")) == {"first": "# no comment", "key": False}
    else:
        assert redacted(f"key = {literal}\n", ["s3cret!x"], "x") == f"key = {literal}\n"


_TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=12)


@given(st.lists(_TEXT, max_size=4), _TEXT.filter(lambda text: len(text) >= 4))
def test_whatever_stands_around_it_only_the_secret_goes(others: list[str], secret: str) -> None:
    """Of texts that do not hold the secret, every one is as it was."""
    plain = [text for text in others if secret not in text]

    def quoted(text: str) -> str:
        return '"' + "".join(f"\\U{ord(letter):08x}" if letter in '"\\' else letter for letter in text) + '"'

    toml = f"others = [{', '.join(map(quoted, plain))}]\nsecret = {quoted(secret)} # why\n"
    try:
        text = redacted(toml, [secret], "relay.toml")
    except ConfigurationError:
        assert secret in toml.replace(quoted(secret), "") + HEADER
        return

    assert tomllib.loads(text) == {"others": plain, "secret": False}


@pytest.mark.parametrize(
    ("url", "opened"),
    [
        ("embedded", True),
        ("postgresql://relay@db/relay", True),
        ("postgresql://relay:x@db/relay", False),
        ("postgresql:///relay?host=/run&password=x", False),
        ("https://hooks.example/T0/secret", False),
    ],
)
def test_a_url_is_secret_when_it_holds_one(url: str, opened: bool) -> None:
    """A webhook's is one as a whole."""
    assert is_open(url) is opened


def test_variables_with_a_secret_are_named_only() -> None:
    """A list in JSON with a password in it goes as a whole."""
    environment = {
        "DICOMRELAY_GATEWAY__PORT": "104",
        "DICOMRELAY_MONITOR__PASSWORD": "hunter2",
        "dicomrelay_users": '[{"password": "hunter2"}]',
        "PATH": "/bin",
    }

    assert open_variables(environment, ["hunter2"]) == (
        {"DICOMRELAY_GATEWAY__PORT": "104"},
        ["DICOMRELAY_MONITOR__PASSWORD", "dicomrelay_users"],
    )


def test_files_of_the_settings_are_found_and_private_keys_are_secret(tmp_path: Path) -> None:
    """A certificate's file with a key in it is secret too."""
    for name, content in (("a.pem", "CERTIFICATE"), ("b.pem", "BEGIN PRIVATE KEY"), ("rules.toml", "")):
        (tmp_path / name).write_text(content)
    (tmp_path / "relay.toml").write_text(
        f'rules_file = "rules.toml"\n[gateway.tls]\ncertificate = "{tmp_path}/a.pem"\nkey = "{tmp_path}/b.pem"\n'
    )

    found = {named.key: named for named in named_files(load(home=tmp_path))}

    assert set(found) == {"rules_file", "gateway.tls.certificate", "gateway.tls.key"}
    assert [
        is_secret(found[key], found[key].path.read_bytes())
        for key in ("rules_file", "gateway.tls.certificate", "gateway.tls.key")
    ] == [False, False, True]
    assert is_secret(Named("gateway.tls.certificate", Path("x")), b"-----BEGIN PRIVATE KEY-----")


def test_what_a_file_says_is_secret_also_where_a_variable_overrides_it() -> None:
    """The settings in force know nothing of it; a webhook's address, which may hold a key, is one."""
    text = (
        '[monitor]\nuser = "anna"\npassword = "overridden-1"\n[broker]\nurl = "redis://b:6379/0"\n'
        '[[alerts.webhooks]]\nname = "duty"\nurl = "https://hooks.example/T0/key-in-the-path"\nca = "ca.pem"\n'
        '[[users]]\nname = "anna"\npassword_hash = "scrypt$1"\ntokens = [{ name = "t", hash = "sha256" }]\n'
        "[archive]\nsecret_access_key = 'of-the-bucket'\n"
    )

    assert written_secrets(tomllib.loads(text)) == {
        "monitor.password": "overridden-1",
        "alerts.webhooks.0.url": "https://hooks.example/T0/key-in-the-path",
        "archive.secret_access_key": "of-the-bucket",
    }


def test_a_webhooks_address_in_force_is_secret(tmp_path: Path) -> None:
    """It is a plain text in the settings, and never shown."""
    (tmp_path / "relay.toml").write_text(
        '[[alerts.webhooks]]\nname = "duty"\nurl = "https://hooks.example/T0/key"\n'
    )

    assert secrets(load(home=tmp_path)) == {"alerts.webhooks.0.url": "https://hooks.example/T0/key"}


def test_secrets_that_were_put_out_of_force_go_too() -> None:
    """In a comment a key with its value, and the password of a URL, whatever it was; other words stay."""
    text = (
        '# token = "of-last-year"\n#url=\'redis://:old-pw@b/0\'\n# port = "104", password: ask anna\n'
        '# see amqp://relay:old-pw-2@rabbit/ before\nx = 1 # url = "redis://b/0"\n'
    )

    found = redacted(text, [], "relay.toml").removeprefix(HEADER)

    assert found == (
        '# token = "(left out)"\n#url="(left out)"\n# port = "104", password: ask anna\n'
        '# see amqp://relay:(left out)@rabbit/ before\nx = 1 # url = "redis://b/0"\n'
    )


def test_a_variable_by_the_name_of_a_secret_is_named_only() -> None:
    """Also where something else has the last word."""
    environment = {"DICOMRELAY_MONITOR__PASSWORD": "x", "DICOMRELAY_BROKER__URL": "redis://b/0"}

    assert open_variables(environment, []) == (
        {"DICOMRELAY_BROKER__URL": "redis://b/0"},
        ["DICOMRELAY_MONITOR__PASSWORD"],
    )
