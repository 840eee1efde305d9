"""A service that speaks S3, as a process of its own: moto's server. What it keeps is in its memory."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pydantic import SecretStr

from archive.storage import Storage
from archive.storage.opening import open_storage
from dicomrelay.runtime.ports import free_ports
from dicomrelay.settings.storage import StorageSettings
from tests.support.house import wait_for

ACCESS_KEY, SECRET_KEY = "AKIATESTKEY", "CANARY-SECRET-4711"


@dataclass
class S3Service:
    """One that may be started, frozen and stopped."""

    log: Path
    port: int = field(default_factory=lambda: free_ports(1)[0])
    environment: Mapping[str, str] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Run it until it listens."""
        argv = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(
                argv, stdout=out, stderr=out, env={**os.environ, **self.environment}, cwd=self.log.parent
            )
        wait_for(self._listens, timeout_s=60, what=f"moto listens on {self.port}")

    def stop(self) -> None:
        """End it; everything it had is gone."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """It takes connections, and says nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def make_bucket(self, name: str) -> None:
        """A new, empty bucket."""
        request = urllib.request.Request(f"{self.endpoint}/{name}", method="PUT")
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.status == 200

    def settings(self, bucket: str, prefix: str = "relay/one", **more: object) -> StorageSettings:
        """The section `archive` for a bucket of it."""
        return StorageSettings(
            url=f"s3://{bucket}/{prefix}".rstrip("/"),
            endpoint=self.endpoint,
            access_key_id=SecretStr(ACCESS_KEY),
            secret_access_key=SecretStr(SECRET_KEY),
            **more,  # type: ignore[arg-type]
        )

    def toml(self, bucket: str) -> str:
        """The same for relay.toml."""
        return (
            f'[archive]\nurl = "s3://{bucket}/relay"\nendpoint = "{self.endpoint}"\n'
            f'access_key_id = "{ACCESS_KEY}"\nsecret_access_key = "{SECRET_KEY}"\ntimeout_s = 5\n'
        )

    def storage(self, bucket: str, root: Path, **more: object) -> Storage:
        """The storage of an archive at `root`."""
        opened = open_storage(self.settings(bucket, **more), root)
        assert opened is not None
        return opened

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text("utf-8", "replace")
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True


@contextmanager
def running_s3(folder: Path, **environment: str) -> Iterator[S3Service]:
    """A service that runs; where moto is missing the test skips, and fails in CI."""
    service = installed_s3(folder, **environment)
    service.start()
    try:
        yield service
    finally:
        service.stop()


def installed_s3(folder: Path, **environment: str) -> S3Service:
    """A service that is still to be started."""
    for module in ("moto", "obstore"):
        if importlib.util.find_spec(module) is None:
            if os.environ.get("CI"):
                pytest.fail(f"{module} is not installed")
            pytest.skip(f"{module} is not installed")
    return S3Service(folder / "moto.log", environment=environment)
