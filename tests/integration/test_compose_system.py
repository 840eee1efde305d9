"""The services of docker-compose.yml, run as processes: their commands, environments and health checks, on a real
PostgreSQL and a real broker with the password and options of the file.

What containers add (networks, volumes, users, a read-only root) is not tested here: that needs Docker.
"""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pydicom.data
import pytest
import yaml

from dicomrelay.runtime.broker import server_binary
from tests.support.markdown import ROOT
from tests.support.postgresql import running_server
from tests.support.processes import BIN, environment, free_port, listens, running, until

SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))[
    "services"
]
STUDY = Path(pydicom.data.__file__).parent / "test_files" / "CT_small.dcm"


PASSWORD = "correct horse battery staple"
BASIC = {"Authorization": f"Basic {base64.b64encode(f'anna:{PASSWORD}'.encode()).decode()}"}


class Machine:
    """One home and one set of ports for all services, in place of volumes and networks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.home.mkdir()
        self.ports = {
            name: str(free_port()) for name in ("gateway", "streamer", "monitor", "redis", "destination")
        }
        self.health_ports = {name: str(free_port()) for name in SERVICES}
        self.database_url = ""
        self.secrets = folder / "secrets"
        shutil.copy(ROOT / "docker" / "make-secrets", folder)
        subprocess.run(["sh", str(folder / "make-secrets")], check=True, capture_output=True)

    def secret(self, name: str) -> str:
        """Where a secret is that the file names."""
        return str(self.secrets / name)

    def variables(self, name: str) -> dict[str, str]:
        """The environment of the service; addresses are ours, everything else as it is in the file."""
        ours = {
            "DICOMRELAY_CONFIG": str(ROOT / "docker" / "relay.toml"),
            "DICOMRELAY_BROKER__URL": f"redis://127.0.0.1:{self.ports['redis']}/0",
            "DICOMRELAY_BROKER__PASSWORD_FILE": self.secret("broker_password"),
            "DICOMRELAY_DATABASE__URL": self.database_url,
            "DICOMRELAY_DATABASE__PASSWORD_FILE": self.secret("database_password"),
            "DICOMRELAY_METRICS__HOST": "127.0.0.1",
            "DICOMRELAY_METRICS__PORT": self.health_ports[name],
            "DICOMRELAY_METRICS__TOKEN_FILE": self.secret("metrics_token"),
            "DICOMRELAY_MONITOR__HOST": "127.0.0.1",
            "DICOMRELAY_STREAMER__ACCESS__TOKENS_FILE": self.secret("streamer_token"),
            "DICOMRELAY_USERS_FILE": str(self.home / "users.json"),
        }
        destination = {
            "name": "pacs",
            "ae_title": "PACS",
            "host": "127.0.0.1",
            "port": int(self.ports["destination"]),
        }
        return environment(
            {
                **{variable: ours[variable] for variable in SERVICES[name]["environment"]},
                **{
                    f"DICOMRELAY_{part.upper()}__PORT": self.ports[part]
                    for part in ("gateway", "streamer", "monitor")
                },
                "DICOMRELAY_HOME": str(self.home),
                "DICOMRELAY_GATEWAY__HOST": "127.0.0.1",
                "DICOMRELAY_STREAMER__HOST": "127.0.0.1",
                "DICOMRELAY_STUDY__QUIET_SECONDS": "1",
                "DICOMRELAY_DESTINATIONS": json.dumps([destination]),
            }
        )

    @contextmanager
    def service(self, name: str) -> Iterator[subprocess.Popen[bytes]]:
        """A service of the file as a process, with its command and environment."""
        log = self.folder / f"{name}.log"
        command = [BIN / "dicomrelay", *SERVICES[name]["command"]]
        with running(command, folder=self.folder, variables=self.variables(name), log=log) as process:
            yield process

    @contextmanager
    def broker(self) -> Iterator[None]:
        """The broker with the command of the file, but for where it listens and keeps its file."""
        shell, flag, line = SERVICES["redis"]["command"]
        line = line.replace("$$", "$").replace("redis-server", str(server_binary()), 1)
        line = line.replace("/run/secrets", str(self.secrets))
        here = f"--bind 127.0.0.1 --port {self.ports['redis']} --dir '{self.folder}'"
        line = line.replace(" <<END", f" {here} <<END")
        variables = environment({})
        with running(
            [shell, flag, line], folder=self.folder, variables=variables, log=self.folder / "redis.log"
        ):
            until(lambda: listens(self.ports["redis"]), seconds=20, what="the broker listens")
            yield

    def destination(self) -> list[str | Path]:
        """pynetdicom's receiver."""
        arguments = ["--ae-title", "PACS", "--bind-address", "127.0.0.1", "--output-directory", "received"]
        return [BIN / "python", "-m", "pynetdicom", "storescp", self.ports["destination"], *arguments]

    def is_healthy(self, name: str) -> bool:
        """What the health check of the file says, asked on our ports."""
        _, *test = SERVICES[name]["healthcheck"]["test"]
        command = [word.replace("9464", self.health_ports[name]) for word in test]
        variables = self.variables(name)
        try:
            done = subprocess.run(
                command, cwd=self.folder, env=variables, capture_output=True, timeout=30, check=False
            )
        except subprocess.TimeoutExpired:
            return False  # as Docker takes it
        return done.returncode == 0

    def store(self, file: Path) -> None:
        """Send a file to the gateway as a modality does."""
        command: list[str | Path] = [
            BIN / "python",
            "-m",
            "pynetdicom",
            "storescu",
            "127.0.0.1",
            self.ports["gateway"],
            file,
        ]
        done = subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr

    def add_user(self) -> None:
        """Somebody whom streamer and Flower ask for, made as the how-to says: where Flower would not start without."""
        command = [BIN / "dicomrelay", "users", "add", "anna", "--role", "operator"]
        variables = {**self.variables("monitor"), "DICOMRELAY_MONITOR__HOST": "0.0.0.0"}
        done = subprocess.run(
            command, cwd=self.folder, env=variables, input=PASSWORD, capture_output=True, text=True, timeout=60, check=False
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    def status(self) -> dict[str, Any]:
        """What `dicomrelay status` says inside a service that has the database."""
        done = subprocess.run(
            [BIN / "dicomrelay", "status", "--json"],
            cwd=self.folder, env=self.variables("intake"), capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        found: dict[str, Any] = json.loads(done.stdout)
        return found


@pytest.mark.slow
@pytest.mark.postgresql
def test_the_services_of_the_compose_file_take_a_study_to_its_destination(tmp_path: Path) -> None:
    """The gateway takes the study before there is a broker or a database; once all run it is delivered, archived and served."""
    machine = Machine(tmp_path)
    received = tmp_path / "received"
    received.mkdir()
    with ExitStack() as stack:
        stack.enter_context(machine.service("gateway"))
        until(lambda: listens(machine.ports["gateway"]), seconds=20, what="the gateway listens")
        machine.store(STUDY)

        server = stack.enter_context(running_server())
        machine.database_url = server.create_database()
        stack.enter_context(machine.broker())
        log = tmp_path / "destination.log"
        stack.enter_context(
            running(machine.destination(), folder=tmp_path, variables=environment({}), log=log)
        )
        machine.add_user()
        others = ["intake", "worker", "scheduler", "streamer", "monitor"]
        for name in others:
            stack.enter_context(machine.service(name))
        for name in ["gateway", *others]:
            until(partial(machine.is_healthy, name), seconds=60, what=f"{name} is healthy")

        until(lambda: any(received.iterdir()), seconds=30, what="the study is at the destination")
        until(
            lambda: machine.status()["studies"][0]["archived"] == 1, seconds=30, what="the study is archived"
        )
        until(lambda: machine.status()["studies"][0]["frames"] == 1, seconds=30, what="its frame is found")
        address = f"http://127.0.0.1:{machine.ports['streamer']}/studies"
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(address)
        with urllib.request.urlopen(urllib.request.Request(address, headers=BASIC)) as response:
            (study,) = json.load(response)
        assert machine.status()["needs_attention"] == []

    sent, (arrived,) = pydicom.dcmread(STUDY), [pydicom.dcmread(path) for path in received.iterdir()]
    assert study["0020000D"]["Value"] == [sent.StudyInstanceUID]
    assert arrived.SOPInstanceUID == sent.SOPInstanceUID
    assert arrived.PixelData == sent.PixelData


def test_the_health_check_of_a_worker_that_does_not_run_fails(tmp_path: Path) -> None:
    """Nobody answers at its port."""
    assert not Machine(tmp_path).is_healthy("worker")


def test_the_broker_asks_for_the_password_of_the_secret(tmp_path: Path) -> None:
    """It is on no command line, and nobody comes in without it."""
    machine = Machine(tmp_path)
    with machine.broker(), socket.create_connection(("127.0.0.1", int(machine.ports["redis"]))) as broker:
        word = Path(machine.secret("broker_password")).read_text("ascii").strip()
        for said, answer in (("PING", b"-NOAUTH"), (f"AUTH {word}", b"+OK"), ("PING", b"+PONG")):
            broker.sendall(f"{said}\r\n".encode())
            assert broker.recv(200).startswith(answer)
        said = subprocess.run(
            ["ps", "-eo", "args"], capture_output=True, text=True, timeout=30, check=True
        ).stdout
        assert "redis" in said or "valkey" in said
        assert word not in said
