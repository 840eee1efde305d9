"""Where settings come from, which wins, and what a mistake is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from dicomrelay.errors import ConfigurationError
from dicomrelay.settings import load

_WHOLE = """
[gateway]
ae_title = "DICOMRELAY"
host = "127.0.0.1"
port = 11112

[study]
quiet_seconds = 5

[streamer]
port = 8080

[monitor]
port = 5555

[[peers]]
ae_title = "CT_*"
host = "10.0.0.0/24"

[[destinations]]
name = "pacs"
ae_title = "PACS"
host = "10.0.0.9"
port = 104
associations = 2
max_bytes_per_s = 50_000_000

[[rules]]
when = { modality = ["CT", "MR"], source_ae_title = "CT_*" }
send_to = ["pacs"]
priority = "urgent"
"""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for variable in ("DICOMRELAY_HOME", "DICOMRELAY_CONFIG"):
        monkeypatch.delenv(variable, raising=False)


def _file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "some.toml"
    path.write_text(text, "utf-8")
    return path


def test_the_whole_example_of_the_contract_loads(tmp_path: Path) -> None:
    """Operators rely on these keys."""
    settings = load(config=_file(tmp_path, _WHOLE))

    assert settings.destinations[0].max_bytes_per_s == 50_000_000
    assert settings.rules[0].priority == "urgent"
    assert settings.peers[0].host == "10.0.0.0/24"


def test_without_anything_all_is_on_loopback_and_in_var(tmp_path: Path) -> None:
    """A fresh installation is open to nobody."""
    settings = load()

    assert settings.home == tmp_path / "var"
    assert {settings.gateway.host, settings.streamer.host, settings.monitor.host} == {"127.0.0.1"}
    assert (settings.gateway.port, settings.streamer.port, settings.monitor.port) == (11112, 8080, 5555)


def test_options_win_over_the_environment_and_that_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Key by key: what one source leaves out the next one gives."""
    monkeypatch.setenv("DICOMRELAY_GATEWAY__PORT", "2222")
    monkeypatch.setenv("DICOMRELAY_GATEWAY__AE_TITLE", "FROM_ENV")
    config = _file(tmp_path, '[gateway]\nport = 1111\nae_title = "FROM_FILE"\nmax_associations = 7\n')

    gateway = load(config=config, overrides={"gateway": {"port": 3333}}).gateway

    assert (gateway.port, gateway.ae_title, gateway.max_associations) == (3333, "FROM_ENV", 7)


def test_relay_toml_in_the_home_is_found_before_the_one_in_the_current_folder(tmp_path: Path) -> None:
    """A home carries its own settings."""
    (tmp_path / "relay.toml").write_text("[gateway]\nport = 1\n", "utf-8")
    home = tmp_path / "home"
    home.mkdir()

    assert load(home=home).gateway.port == 1

    (home / "relay.toml").write_text("[gateway]\nport = 2\n", "utf-8")

    assert load(home=home).gateway.port == 2


def test_a_list_of_tables_may_come_from_the_environment_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    """For containers that have no file."""
    monkeypatch.setenv(
        "DICOMRELAY_DESTINATIONS", '[{"name": "pacs", "ae_title": "PACS", "host": "pacs", "port": 104}]'
    )

    assert load().destinations[0].host == "pacs"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[gateway]\nprot = 1\n", ("gateway.prot", "no such setting")),
        ("[gatway]\nport = 1\n", ("gatway", "no such setting")),
        ("[gateway]\nport = 99999\n", ("gateway.port", "65535")),
        ('[gateway]\nae_title = "SEVENTEEN_LETTERS"\n', ("gateway.ae_title", "16")),
        ("[gateway\n", ("not valid TOML", "line 1")),
        ('[broker]\nurl = "kafka://x"\n', ("broker.url", "embedded")),
        ('[database]\nurl = "mysql://x"\n', ("database.url", "postgresql://")),
        ('[[rules]]\nsend_to = ["nowhere"]\n', ("rules.0.send_to", "nowhere", "known: none")),
        ('[[destinations]]\nname = "a"\nae_title = "A"\n', ("destinations.0.host", "required")),
        ('[[destinations]]\nname = "Big"\nae_title = "A"\nhost = "h"\n', ("destinations.0.name",)),
        ('[[destinations]]\nname = "a"\nae_title = "A"\nhost = "a..b"\n', ("destinations.0.host", "a..b")),
        ('[[peers]]\nhost = "10.0.0.0/40"\n', ("peers.0.host", "10.0.0.0/24")),
        ('[monitor]\nuser = "a"\n', ("monitor", "go together")),
        ("[gateway]\nport = 8080\n", ("gateway.port and streamer.port", "8080")),
        ('[database]\nurl = "postgresql://u:s3cret@h:port/x"\n', ("database.url", "port")),
        ("a = " + "[" * 100_000, ("nested too deeply",)),
    ],
)
def test_a_mistake_is_told_with_file_and_key(tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    """The message names where it is and what would be right."""
    config = _file(tmp_path, text)

    with pytest.raises(ConfigurationError) as caught:
        load(config=config)

    message = str(caught.value)
    assert all(word in message for word in (str(config), *words)), message
    assert "s3cret" not in message


def test_the_same_destination_twice_is_refused(tmp_path: Path) -> None:
    """Deliveries are kept by name."""
    one = '[[destinations]]\nname = "a"\nae_title = "A"\nhost = "h"\n'

    with pytest.raises(ConfigurationError, match="stands twice"):
        load(config=_file(tmp_path, one + one))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """A file that was named must be there."""
    with pytest.raises(ConfigurationError, match=r"missing\.toml: cannot be read: No such file"):
        load(config=tmp_path / "missing.toml")


def test_an_unknown_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A typing mistake in the environment would be silent otherwise."""
    monkeypatch.setenv("DICOMRELAY_GATWAY__PORT", "1")

    with pytest.raises(ConfigurationError, match="DICOMRELAY_GATWAY__PORT"):
        load()


def test_a_wrong_variable_is_named_not_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is fine."""
    monkeypatch.setenv("DICOMRELAY_GATEWAY__PROT", "3")

    with pytest.raises(ConfigurationError, match=r"^DICOMRELAY_GATEWAY__PROT: gateway\.prot"):
        load(config=_file(tmp_path, _WHOLE))


def test_secrets_do_not_show_in_the_settings_words(tmp_path: Path) -> None:
    """A traceback or a log line may hold the settings."""
    config = _file(
        tmp_path, '[broker]\nurl = "redis://:s3cret@h/0"\n[monitor]\nuser = "u"\npassword = "s3cret"\n'
    )

    assert "s3cret" not in repr(load(config=config))
