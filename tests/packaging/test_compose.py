"""docker-compose.yml: valid by the Compose specification, and true of our commands and settings.

Nothing here starts a container: that needs Docker, which the tests do not ask for (docs/howto/docker-compose.md says what was
tried with one). What is checked is everything that
can be known without it: the schema, that each command and option exists, that the settings of each service load with
exactly its environment and configuration file, and that what is published, mounted and waited for fits together.
"""

from __future__ import annotations

import importlib.resources
import ipaddress
import json
import os
import re
import subprocess
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

OUR_PARTS = {"gateway", "intake", "worker", "scheduler", "streamer", "monitor"}
PROFILES = {
    "single": {"relay"},
    "scale": {*OUR_PARTS, "redis", "postgres"},
    "observability": {"prometheus", "grafana"},
}


def compose() -> dict[str, Any]:
    """The file as Compose reads it: $$ is a dollar sign, and a variable there is none."""
    text = COMPOSE_FILE.read_text("utf-8")
    assert not re.search(r"(?<!\$)\$(?!\$)", text), "nothing is taken from the caller's environment"
    loaded: dict[str, Any] = yaml.safe_load(text.replace("$$", "$"))
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
    # As `dicomrelay users add` leaves it: Flower's address wants somebody whom it asks for.
    users = folder / "users.json"
    users.write_text(json.dumps({"users": [{"name": "anna", "role": "operator"}]}), "utf-8")
    users.chmod(0o600)
    monkeypatch.setenv("DICOMRELAY_HOME", str(folder))
    ours = {"DICOMRELAY_USERS_FILE": str(users)}
    for variable, value in SERVICES[name]["environment"].items():
        file = ROOT / mounted[value] if variable == "DICOMRELAY_CONFIG" else ours.get(variable, value)
        monkeypatch.setenv(variable, str(file))
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


def test_each_profile_has_its_services() -> None:
    """One container with everything; or the parts of `dicomrelay up` with broker and database beside them; and who looks on."""
    found: dict[str, set[str]] = {}
    for name, service in SERVICES.items():
        (profile,) = service["profiles"]
        found.setdefault(profile, set()).add(name)

    assert found == PROFILES


@pytest.mark.parametrize("name", OURS)
def test_each_command_is_one_of_ours_with_options_that_it_has(name: str) -> None:
    """The command line of the service, and of a health check that calls us, is understood; nothing is run."""
    command, *arguments = SERVICES[name]["command"]
    found = cli.get_command(None, command)  # type: ignore[arg-type]

    assert found is not None, command
    found.make_context(command, list(arguments))


@pytest.mark.parametrize("name", OURS)
def test_each_of_ours_is_asked_whether_it_is_ready_where_it_answers(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """At metrics.port of the settings, on loopback, which needs no token."""
    test = SERVICES[name]["healthcheck"]["test"]
    metrics = load_settings(name, monkeypatch, tmp_path).metrics

    assert test[:3] == ["CMD", "python", "-ISc"]
    assert f'"http://127.0.0.1:{metrics.port}/readyz"' in test[3]
    assert metrics.enabled
    assert metrics.host == "0.0.0.0"  # Prometheus comes from another container, with the token


@pytest.mark.parametrize("name", OURS)
def test_the_settings_of_each_service_load_with_its_environment(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Every variable is a setting and every value valid; broker and database are the ones beside us, where given."""
    loaded = load_settings(name, monkeypatch, tmp_path)

    environment = SERVICES[name]["environment"]
    if "DICOMRELAY_BROKER__URL" in environment:
        assert loaded.broker.url.get_secret_value() == "redis://redis:6379/0"
    if "DICOMRELAY_DATABASE__URL" in environment:
        assert loaded.database.url.get_secret_value() == "postgresql://relay@postgres:5432/relay"


def test_each_service_is_given_the_secrets_that_its_settings_name_and_no_others() -> None:
    """The gateway gets no database, the streamer no broker; a secret that is given is one that is used."""
    for name, service in SERVICES.items():
        text = yaml.safe_dump([service.get(key) for key in ("environment", "command", "healthcheck")])
        named = set(re.findall(r"/run/secrets/(\w+)", text))
        if name == "prometheus":
            named |= set(
                re.findall(r"/run/secrets/(\w+)", (ROOT / "docker" / "prometheus.yml").read_text("utf-8"))
            )
        assert set(service["secrets"]) == named, name

    assert SERVICES["gateway"]["secrets"] == ["metrics_token", "broker_password"]
    assert SERVICES["streamer"]["secrets"] == ["metrics_token", "database_password", "streamer_token"]


def test_no_secret_is_in_an_environment_or_on_a_command_line() -> None:
    """They are files; what reads one on a command line reads it from there, and shows it to nobody."""
    assert all(set(secret) == {"file"} for secret in compose()["secrets"].values())
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            if re.search("PASSWORD|TOKEN|SECRET", variable):
                assert str(value).startswith("/run/secrets/"), (name, variable)
    shell, flag, line = SERVICES["redis"]["command"]
    command, _, fed = line.partition(" <<END\n")
    assert (shell, flag) == ("sh", "-c")
    assert "secrets" not in command
    assert fed == "requirepass $(cat /run/secrets/broker_password)\nEND\n"


def test_the_secrets_are_made_once_and_can_be_read_by_those_who_are_given_them(tmp_path: Path) -> None:
    """`docker/make-secrets` makes every file that is named, in a folder of its own; a second call changes none."""
    script = tmp_path / "make-secrets"
    script.write_bytes((ROOT / "docker" / "make-secrets").read_bytes())
    subprocess.run(["sh", str(script)], check=True, capture_output=True)
    folder = tmp_path / "secrets"
    made = {path.name: path.read_text("ascii") for path in folder.iterdir()}
    subprocess.run(["sh", str(script)], check=True, capture_output=True)

    assert {Path(secret["file"]).name for secret in compose()["secrets"].values()} == set(made)
    assert made == {path.name: path.read_text("ascii") for path in folder.iterdir()}
    assert all(re.fullmatch(r"[0-9a-f]{64}\n", text) for text in made.values())
    assert len(set(made.values())) == len(made)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o444}


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_each_service_has_limits(name: str) -> None:
    """Of memory, processors and processes."""
    assert set(SERVICES[name]["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}


def test_prometheus_asks_every_part_at_the_port_where_it_answers() -> None:
    """By the names of the services, so that each container of a scaled one is found; with the token's file."""
    scrape = yaml.safe_load((ROOT / "docker" / "prometheus.yml").read_text("utf-8"))
    (job,) = scrape["scrape_configs"]
    (found,) = job["dns_sd_configs"]

    assert set(found["names"]) == set(OURS)
    assert str(found["port"]) == SERVICES["gateway"]["environment"]["DICOMRELAY_METRICS__PORT"]
    assert (
        job["authorization"]["credentials_file"].removeprefix("/run/secrets/")
        in SERVICES["prometheus"]["secrets"]
    )
    targets = [entry["target"] for entry in SERVICES["prometheus"]["configs"]]
    assert [f"/etc/prometheus/{name}" for name in ["prometheus.yml", *scrape["rule_files"]]] == targets


def test_grafana_finds_prometheus_and_the_dashboard() -> None:
    """The source's address is the service's, and the folder is where the dashboard is mounted."""
    (source,) = yaml.safe_load((ROOT / "docker" / "grafana-source.yml").read_text("utf-8"))["datasources"]
    (folder,) = yaml.safe_load((ROOT / "docker" / "grafana-folder.yml").read_text("utf-8"))["providers"]
    mounted = {entry["source"]: entry["target"] for entry in SERVICES["grafana"]["configs"]}

    assert source["url"] == "http://prometheus:9090"
    assert set(SERVICES["grafana"]["networks"]) & set(SERVICES["prometheus"]["networks"])
    assert Path(mounted["dashboard"]).parent == Path(folder["options"]["path"])


@pytest.mark.parametrize("name", ["gateway", "streamer", "monitor"])
def test_what_is_published_is_what_the_service_listens_on(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The container's side of each port is the port of the settings, on an address that the network reaches."""
    section = getattr(load_settings(name, monkeypatch, tmp_path), name)
    (published,) = SERVICES[name]["ports"]
    _, _, inside = published.rpartition(":")

    assert int(inside) == section.port
    assert published in SERVICES["relay"]["ports"]
    assert not settings.is_loopback(section.host)


def test_ports_are_published_on_loopback_only() -> None:
    """Nobody but this machine reaches the system before somebody decides so."""
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]

    assert len(published) == 7
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_what_asks_for_no_password_is_published_nowhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Prometheus is on the inner network; the streamer asks before there is any user."""
    assert "ports" not in SERVICES["prometheus"]
    assert SERVICES["prometheus"]["networks"] == ["inside"]
    access = load_settings("streamer", monkeypatch, tmp_path).streamer.access

    assert access is not None
    assert str(access.tokens_file) == "/run/secrets/streamer_token"


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
    mounted = {entry["source"] for service in SERVICES.values() for entry in service.get("configs", [])}
    assert mounted == set(whole["configs"])
    assert {secret for service in SERVICES.values() for secret in service["secrets"]} == set(whole["secrets"])


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
    assert "archive:/var/lib/dicomrelay/archive:ro" in SERVICES["streamer"]["volumes"]
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
    """Intake and workers together take from all queues."""
    taken = []
    for name in ("intake", "worker"):
        taken += SERVICES[name]["command"][-1].split(",")

    assert sorted(taken) == sorted(queue.value for queue in Queue)


def test_the_trail_and_the_users_outlive_a_container() -> None:
    """Whatever is recorded goes to the volume of the audit; users are where both doors read them."""
    for name in OUR_PARTS:
        assert "audit:/var/lib/dicomrelay/audit" in SERVICES[name]["volumes"]
    for name in ("streamer", "monitor"):
        file = Path(SERVICES[name]["environment"]["DICOMRELAY_USERS_FILE"])
        assert f"users:{file.parent}" in SERVICES[name]["volumes"]
    # A volume takes its owner from the image.
    image = (ROOT / "Dockerfile").read_text("utf-8").split("install -d")[1].split("COPY")[0].split()
    for name in OURS:
        for volume in SERVICES[name]["volumes"]:
            folder = volume.split(":")[1].removeprefix("/var/lib/")
            assert folder == "dicomrelay" or folder in image, (name, folder)


def test_what_is_rendered_by_rule_is_where_the_streamer_looks() -> None:
    """The root cannot be written, so what is kept beside the archive has a volume of its own."""
    for name in ("intake", "streamer"):
        assert "renditions:/var/lib/dicomrelay/renditions" in SERVICES[name]["volumes"]


def test_broker_and_database_are_not_reached_from_outside() -> None:
    """They are on the inner network only, which has no way out and no published port."""
    assert compose()["networks"]["inside"] == {"internal": True}
    for name in ("redis", "postgres"):
        assert SERVICES[name]["networks"] == ["inside"]
        assert "ports" not in SERVICES[name]


def test_the_broker_keeps_what_it_has_and_drops_nothing() -> None:
    """Append-only file on, no eviction, and a bound under the container's."""
    line = SERVICES["redis"]["command"][-1]

    assert "--appendonly yes" in line
    assert "--maxmemory-policy noeviction" in line
    assert "--maxmemory 256mb" in line


def test_the_how_to_says_how_each_profile_is_started() -> None:
    """And how the secrets are made, without which nothing starts."""
    page = HOW_TO.read_text("utf-8")

    assert "sh docker/make-secrets" in page
    assert all(f"--profile {profile}" in page for profile in PROFILES)
