"""Servers that are not ours, each on a host of its own: Redis, RabbitMQ, PostgreSQL with TLS and a password; S3."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import sys
import time
import urllib.request
from pathlib import Path
from typing import Final

import trustme

from chaos.hosts.host import Host

PASSWORD: Final = "CANARY-BROKER-AND-LEDGER-4711"
ACCESS_KEY: Final = "AKIAHOSTS"
SECRET_KEY: Final = "CANARY-S3-4711"
BUCKET: Final = "relay"
# RabbitMQ takes ten seconds of a machine that has nothing else to do.
_LISTENS_WITHIN_S: Final = 150.0
_RABBITMQ: Final = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")


def missing_servers(broker: str) -> str:
    """Why they cannot be started; "" when they can."""
    if broker == "redis" and not shutil.which("redis-server"):
        return "redis-server is not installed"
    if broker == "rabbitmq" and not _RABBITMQ.exists():
        return "rabbitmq-server is not installed"
    if _postgresql() is None:
        return "no PostgreSQL server is installed"
    try:
        import moto.server  # noqa: F401, PLC0415
    except ImportError:
        return "moto is not installed"
    return ""


class Authority:
    """Signs a certificate for the address of each server; its own is `path`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._ca = trustme.CA(organization_name="Hosts")
        self.path = folder / "ca.pem"
        self._ca.cert_pem.write_to_path(self.path)

    def issue(self, host: Host, *, account: str | None = None) -> None:
        """`server.pem` and `server.key` in its folder, the key for `account` alone."""
        leaf = self._ca.issue_cert(host.address, key_type=trustme.KeyType.ECDSA)
        certificate, key = host.folder / "server.pem", host.folder / "server.key"
        certificate.write_bytes(b"".join(each.bytes() for each in leaf.cert_chain_pems))
        leaf.private_key_pem.write_to_path(key)
        key.chmod(0o600)
        if account is not None:
            entry = pwd.getpwnam(account)
            os.chown(key, entry.pw_uid, entry.pw_gid)


class Server:
    """A server on a host; `start` it again after the host was lost."""

    port = 0

    def __init__(self, host: Host, authority: Authority) -> None:
        self.host = host
        self.authority = authority

    @property
    def where(self) -> str:
        """Its address and port."""
        return f"{self.host.address}:{self.port}"

    def start(self) -> None:
        """Run it, on a host that runs, until it listens."""
        self.launch()
        self.await_ready()

    def launch(self) -> None:
        """Run it."""
        raise NotImplementedError

    def forget(self) -> None:
        """Its disk is a new one; only what it can lose has this."""
        raise NotImplementedError

    def await_ready(self) -> None:
        """Until it listens; raises RuntimeError when it does not."""
        deadline = time.monotonic() + _LISTENS_WITHIN_S
        while True:
            try:
                socket.create_connection((self.host.address, self.port), timeout=1).close()
            except OSError:
                if time.monotonic() > deadline or not self.host.is_running("server"):
                    log = self.host.log("server")
                    raise RuntimeError(f"{self.host.name} does not listen: {log[-2000:]}") from None
                time.sleep(0.05)
            else:
                return


class Broker(Server):
    """One that carries wake-ups."""

    @property
    def url(self) -> str:
        """For broker.url, without its password."""
        raise NotImplementedError


class Redis(Broker):
    """TLS only, AUTH, append-only file."""

    port = 6379

    @property
    def url(self) -> str:
        """For broker.url, without its password."""
        return f"rediss://{self.where}/0"

    def launch(self) -> None:
        """Run it."""
        self.authority.issue(self.host)
        folder = self.host.folder
        (folder / "redis.conf").write_text(
            f"port 0\ntls-port {self.port}\nbind {self.host.address}\ntls-cert-file {folder}/server.pem\n"
            f"tls-key-file {folder}/server.key\ntls-ca-cert-file {self.authority.path}\ntls-auth-clients no\n"
            f"requirepass {PASSWORD}\nappendonly yes\nmaxmemory-policy noeviction\ndir {folder}\nsave ''\n",
            "utf-8",
        )
        self.host.run("server", ["redis-server", str(folder / "redis.conf")])

    def forget(self) -> None:
        """The append-only file."""
        shutil.rmtree(self.host.folder / "appendonlydir", ignore_errors=True)
        (self.host.folder / "appendonly.aof").unlink(missing_ok=True)


class RabbitMq(Broker):
    """TLS only, a user of its own, quorum queues as they are declared."""

    port = 5671

    @property
    def url(self) -> str:
        """For broker.url, without its password."""
        return f"amqps://relay@{self.where}//"

    def launch(self) -> None:
        """Run it; the Erlang machine on one scheduler that does not spin."""
        self.authority.issue(self.host)
        folder = self.host.folder
        (folder / "rabbitmq.conf").write_text(
            f"listeners.tcp = none\nlisteners.ssl.default = {self.port}\nssl_options.cacertfile = {self.authority.path}\n"
            f"ssl_options.certfile = {folder}/server.pem\nssl_options.keyfile = {folder}/server.key\n"
            "ssl_options.verify = verify_none\nssl_options.fail_if_no_peer_cert = false\n"
            f"default_user = relay\ndefault_pass = {PASSWORD}\nloopback_users = none\n",
            "utf-8",
        )
        (folder / "enabled_plugins").write_text("[].\n", "utf-8")
        environment = {
            "HOME": str(folder),
            "RABBITMQ_NODENAME": "rabbit@localhost",
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none",
        }
        self.host.run("server", [str(_RABBITMQ)], environment)

    def forget(self) -> None:
        """Queues, messages and users: the one of its settings is made anew."""
        shutil.rmtree(self.host.folder / "mnesia", ignore_errors=True)


class Postgresql(Server):
    """TLS only, SCRAM. What a power cut takes of it is no question here: it does not flush."""

    port = 5432

    @property
    def url(self) -> str:
        """For database.url, without its password."""
        return f"postgresql://relay@{self.where}/postgres"

    def launch(self) -> None:
        """Make it where there is none yet, and run it; not as root, which it refuses."""
        programs, folder = _postgresql(), self.host.folder
        assert programs is not None
        account = "postgres"
        entry = pwd.getpwnam(account)
        os.chown(folder, entry.pw_uid, entry.pw_gid)
        data, word = folder / "data", folder / "password"
        as_them = ["setpriv", f"--reuid={account}", f"--regid={account}", "--clear-groups"]
        if not data.exists():
            self.authority.issue(self.host, account=account)
            word.write_text(f"{PASSWORD}\n", "utf-8")
            os.chown(word, entry.pw_uid, entry.pw_gid)
            options = ["-U", "relay", "-A", "scram-sha-256", "-E", "UTF8", "-N", "--locale=C"]
            made = self.host.ask(
                *as_them, str(programs / "initdb"), "-D", str(data), *options, f"--pwfile={word}"
            )
            if made.returncode:
                raise RuntimeError(f"initdb: {made.stderr}")
            (data / "pg_hba.conf").write_text("hostssl all relay all scram-sha-256\n", "utf-8")
        (data / "postmaster.pid").unlink(missing_ok=True)  # of a host that was lost
        settings = {
            "listen_addresses": self.host.address,
            "ssl": "on",
            "ssl_cert_file": folder / "server.pem",
            "ssl_key_file": folder / "server.key",
            "unix_socket_directories": "",
            "max_connections": 200,
            "fsync": "off",
            "synchronous_commit": "off",
            "tcp_keepalives_idle": 5,
            "tcp_keepalives_interval": 2,
            "tcp_keepalives_count": 3,
        }
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        self.host.run("server", [*as_them, str(programs / "postgres"), "-D", str(data), *words])


class S3(Server):
    """moto's server: what it holds is in its memory, so this host is cut off and never lost."""

    port = 5000

    @property
    def endpoint(self) -> str:
        """Where it listens."""
        return f"http://{self.where}"

    def launch(self) -> None:
        """Run it."""
        argv = [sys.executable, "-m", "moto.server", "-H", self.host.address, "-p", str(self.port)]
        self.host.run("server", argv, {"MOTO_EC2_LOAD_DEFAULT_AMIS": "false"})

    def await_ready(self) -> None:
        """Until it listens and has the bucket."""
        super().await_ready()
        request = urllib.request.Request(f"{self.endpoint}/{BUCKET}", method="PUT")
        urllib.request.urlopen(request, timeout=30).close()


def _postgresql() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None
