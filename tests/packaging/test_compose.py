"""docker-compose.yml: valid by the Compose specification, and true of our commands and settings.

Nothing here starts a container: that needs Docker, which the tests do not ask for. What is checked is everything that
can be known without it: the schema, that each command and option exists, that the settings of each service load with
exactly its environment and configuration file, and that what is published, mounted and waited for fits together.
"""

from __future__ import annotations

import importlib.resources
import ipaddress
import json
import os
import re
import shlex
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml

from dicomrelay import settings
from dicomrelay.cli.main import cli
from dicomrelay.runtime.queue import Queue
from tests.support.markdown import ROOT

COMPOSE_FILE = ROOT / "docker-compose.yml"
HOW_TO = ROOT / "docs" / "howto" / "docker-compose.md"
SCHEMA = importlib.resources.files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"

# ${NAME}, ${NAME:-default}, ${NAME:?what is missing}; $$ is a dollar sign.
VARIABLE = re.compile(r"\$\$|\$\{(?P<name>\w+)(?:(?P<how>:[-?])(?P<text>[^}]*))?\}")


def interpolated(text: str, values: dict[str, str]) -> str:
    """The text as Compose reads it with these variables set."""

    def replace(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        default = match["text"] if match["how"] == ":-" else None
        value = values.get(match["name"]) or default
        assert value is not None, f"{match['name']} must be set: {match['text']}"
        return value

    return VARIABLE.sub(replace, text)


def required_variables() -> set[str]:
    return {
        match["name"] for match in VARIABLE.finditer(COMPOSE_FILE.read_text("utf-8")) if match["how"] == ":?"
    }


def compose() -> dict[str, Any]:
    text = COMPOSE_FILE.read_text("utf-8")
    loaded: dict[str, Any] = yaml.safe_load(interpolated(text, dict.fromkeys(required_variables(), "s3cret")))
    return loaded


SERVICES: dict[str, dict[str, Any]] = compose()["services"]
OURS = sorted(name for name, service in SERVICES.items() if service["image"].startswith("dicomrelay:"))


def load_settings(name: str, monkeypatch: pytest.MonkeyPatch, folder: Path) -> settings.Settings:
    """The settings as the service itself would load them: its environment, and the file that is mounted for it."""
    for variable in [variable for variable in os.environ if variable.upper().startswith("DICOMRELAY_")]:
        monkeypatch.delenv(variable)
    monkeypatch.chdir(folder)
    mounted = {
        entry["target"]: compose()["configs"][entry["source"]]["file"] for entry in SERVICES[name]["configs"]
    }
    for variable, value in SERVICES[name]["environment"].items():
        monkeypatch.setenv(
            variable, str(ROOT / mounted[value]) if variable == "DICOMRELAY_CONFIG" else str(value)
        )
    return settings.load()


def test_the_file_is_valid_by_the_compose_specification() -> None:
    """The schema of the specification has nothing to say against it."""
    errors = list(
        jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text("utf-8"))).iter_errors(compose())
    )

    assert not errors, [f"{list(error.absolute_path)}: {error.message}" for error in errors]


def test_the_schema_finds_a_wrong_key() -> None:
    """The check can fail: a key that is not in the specification is found."""
    wrong = compose()
    wrong["services"]["gateway"]["commands"] = ["gateway"]

    with pytest.raises(jsonschema.ValidationError, match="commands"):
        jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text("utf-8"))).validate(wrong)


def test_every_part_of_the_system_has_its_service() -> None:
    """The parts of `dicomrelay up` with broker and database beside them."""
    assert {"gateway", "intake", "worker", "scheduler", "streamer", "monitor", "redis", "postgres"} == set(
        SERVICES
    )


@pytest.mark.parametrize("name", OURS)
def test_each_command_is_one_of_ours_with_options_that_it_has(name: str) -> None:
    """The command line of the service, and of a health check that calls us, is understood; nothing is run."""
    how, *test = SERVICES[name]["healthcheck"]["test"]
    words = shlex.split(test[0], comments=True) if how == "CMD-SHELL" else test
    lines = [SERVICES[name]["command"]]
    if words[0] == "dicomrelay":
        lines.append(words[1 : words.index(">") if ">" in words else None])

    for command, *arguments in lines:
        found = cli.get_command(None, command)  # type: ignore[arg-type]

        assert found is not None, command
        found.make_context(command, list(arguments))


@pytest.mark.parametrize("name", OURS)
def test_the_settings_of_each_service_load_with_its_environment(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Every variable is a setting and every value valid; broker and database are the ones beside us, where given."""
    loaded = load_settings(name, monkeypatch, tmp_path)

    environment = SERVICES[name]["environment"]
    if "DICOMRELAY_BROKER__URL" in environment:
        assert loaded.broker.url.get_secret_value() == "redis://:s3cret@redis:6379/0"
    if "DICOMRELAY_DATABASE__URL" in environment:
        assert loaded.database.url.get_secret_value() == "postgresql://relay:s3cret@postgres:5432/relay"


def test_each_service_is_given_what_it_needs_and_no_other_secret() -> None:
    """The gateway gets no database, the streamer no broker, and Flower's password goes to Flower alone."""
    given = {
        name: {key.split("__")[0].removeprefix("DICOMRELAY_") for key in SERVICES[name]["environment"]}
        - {"CONFIG"}
        for name in OURS
    }

    assert given == {
        "gateway": {"BROKER"},
        "intake": {"BROKER", "DATABASE"},
        "worker": {"BROKER", "DATABASE"},
        "scheduler": {"BROKER", "DATABASE"},
        "streamer": {"DATABASE"},
        "monitor": {"BROKER", "DATABASE", "MONITOR"},
    }


@pytest.mark.parametrize("name", ["gateway", "streamer", "monitor"])
def test_what_is_published_is_what_the_service_listens_on(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The container's side of each port is the port of the settings, on an address that the network reaches."""
    section = getattr(load_settings(name, monkeypatch, tmp_path), name)
    (published,) = SERVICES[name]["ports"]
    _, _, inside = published.rpartition(":")

    assert int(inside) == section.port
    assert not settings.is_loopback(section.host)


def test_ports_are_published_on_loopback_only() -> None:
    """Nobody but this machine reaches the system before somebody decides so."""
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]

    assert len(published) == 3
    assert all(port.startswith("127.0.0.1:") for port in published)


@pytest.mark.parametrize("address", ["127.0.0.1", "172.17.0.1", "172.31.255.1", "192.168.16.1"])
def test_the_gateway_admits_its_health_check_and_the_bridge(
    address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What comes through the published port has an address of Docker's default pools, and is admitted."""
    peers = load_settings("gateway", monkeypatch, tmp_path).peers

    assert any(
        ipaddress.ip_address(address) in ipaddress.ip_network(peer.host, strict=False)
        for peer in peers
        if peer.ae_title == "*"
    )


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_no_service_has_rights_that_it_does_not_need(name: str) -> None:
    """A plain user, no capability, no way to new ones, a root file system that cannot be written."""
    service = SERVICES[name]

    assert service["user"] not in {"", "root", "0", "0:0"}
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    assert "privileged" not in service


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_whoever_is_waited_for_has_a_health_check(name: str) -> None:
    """Each service can tell whether it is well, and waits only for services that can."""
    service = SERVICES[name]

    assert service["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}
    for other, condition in service.get("depends_on", {}).items():
        assert condition == {"condition": "service_healthy"}
        assert "healthcheck" in SERVICES[other]


def test_the_gateway_waits_for_nobody() -> None:
    """The door is open while broker and database are not there."""
    assert "depends_on" not in SERVICES["gateway"]


def test_every_volume_network_and_file_exists() -> None:
    """What the services name is defined, and what is defined is used."""
    whole = compose()
    volumes = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    networks = {network for service in SERVICES.values() for network in service["networks"]}

    assert volumes == set(whole["volumes"])
    assert networks == set(whole["networks"])
    assert all((ROOT / config["file"]).is_file() for config in whole["configs"].values())


def test_the_spool_is_where_the_home_has_it_for_all_who_need_it() -> None:
    """The spool that the gateway fills is the one that is drained, forwarded from and swept."""
    mount = "spool:/var/lib/dicomrelay/spool"

    assert {name for name in OURS if mount in SERVICES[name].get("volumes", [])} == {
        "gateway",
        "intake",
        "worker",
        "scheduler",
    }


def test_the_streamer_reads_the_archive_and_cannot_change_it() -> None:
    """It faces the network; the intake, which does not, writes the frame indexes that it serves."""
    assert SERVICES["streamer"]["volumes"] == ["archive:/var/lib/dicomrelay/archive:ro"]
    assert "archive:/var/lib/dicomrelay/archive" in SERVICES["intake"]["volumes"]
    assert "frames" in SERVICES["intake"]["command"][-1].split(",")


def test_all_who_drain_one_spool_mount_it() -> None:
    """A spool keeps its own name (spool/identity), so containers may be made anew; workers are scaled, so none is named."""
    spool = {
        name
        for name, service in SERVICES.items()
        if any(v.startswith("spool:") for v in service.get("volumes", []))
    }
    assert {"gateway", "intake", "scheduler"} <= spool
    assert not [name for name, service in SERVICES.items() if "hostname" in service]


def test_every_queue_has_somebody_who_takes_from_it() -> None:
    """Intake and workers together take from all queues; the ping of their health checks is for their own name."""
    taken = []
    for name in ("intake", "worker"):
        _, _, node, _, queues = SERVICES[name]["command"]
        taken += queues.split(",")
        assert f'--destination "{node}@$HOSTNAME"' in SERVICES[name]["healthcheck"]["test"][1]

    assert sorted(taken) == sorted(queue.value for queue in Queue)


def test_broker_and_database_are_not_reached_from_outside() -> None:
    """They are on the inner network only, which has no way out and no published port."""
    assert compose()["networks"]["inside"] == {"internal": True}
    for name in ("redis", "postgres"):
        assert SERVICES[name]["networks"] == ["inside"]
        assert "ports" not in SERVICES[name]


def test_the_broker_keeps_what_it_has_and_drops_nothing() -> None:
    """Append-only file on, no eviction, and a password."""
    line = SERVICES["redis"]["command"][-1]

    assert "--appendonly yes" in line
    assert "--maxmemory-policy noeviction" in line
    assert '--requirepass "$REDISCLI_AUTH"' in line


def test_the_how_to_names_every_variable_that_must_be_set() -> None:
    """Whoever follows the page is not stopped by a variable that it does not mention."""
    page = HOW_TO.read_text("utf-8")

    assert required_variables()
    assert all(f"{name}=" in page for name in required_variables())
