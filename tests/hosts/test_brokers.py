"""Wake-ups over other people's brokers, real ones: Redis and RabbitMQ with TLS and a password."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from dicomrelay.errors import ServiceUnavailable
from dicomrelay.runtime import home
from dicomrelay.runtime.ports import free_ports
from dicomrelay.runtime.process import start, stop
from dicomrelay.runtime.queue import Queue, Task, WakeUps
from dicomrelay.settings import Settings, load
from tests.support.certificates import Authority
from tests.support.house import wait_for

_PASSWORD = "pass/word:4711"
_RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")


def _settings(folder: Path, name: str, url: str, ca: Path, password: str = _PASSWORD) -> Settings:
    at = folder / name
    at.mkdir()
    (at / "password").write_text(f"{password}\n", "utf-8")
    (at / "relay.toml").write_text(
        f'[broker]\nurl = "{url}"\npassword_file = "{at}/password"\ntls = {{ ca = "{ca}" }}\ntimeout_s = 3\n'
        '[database]\nurl = "postgresql://nobody@127.0.0.1:1/none"\n',
        "utf-8",
    )
    settings = load(home=at)
    home.prepare(settings)
    return settings


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Authority, Path]]:
    """A Redis that speaks nothing but TLS, and wants a password; its URL."""
    if not shutil.which("redis-server"):
        if os.environ.get("CI"):
            pytest.fail("redis-server is not installed")
        pytest.skip("redis-server is not installed")
    folder = tmp_path_factory.mktemp("redis")
    authority, port = Authority(folder), free_ports(1)[0]
    pair = authority.issue("server")
    (folder / "redis.conf").write_text(
        f'port 0\ntls-port {port}\nbind 127.0.0.1\nrequirepass "{_PASSWORD}"\ntls-auth-clients no\nsave ""\n'
        f"tls-cert-file {pair.certificate}\ntls-key-file {pair.key}\ntls-ca-cert-file {authority.path}\ndir {folder}\n",
        "utf-8",
    )
    with (folder / "log").open("wb") as log:
        server = start(["redis-server", str(folder / "redis.conf")], output=log)
    try:
        wait_for(
            lambda: b"Ready to accept" in (folder / "log").read_bytes(), timeout_s=20, what="Redis is up"
        )
        yield f"rediss://127.0.0.1:{port}/0", authority, folder
    finally:
        stop(server, grace_s=10)


def _says_and_hears(settings: Settings) -> None:
    """What every broker has to do for us."""
    wake_ups = WakeUps(settings)
    try:
        assert set(wake_ups.depths().values()) == {0}
        wake_ups.send(Task.GROUP)
        wake_ups.send(Task.FORWARD, ids=["a"], queue=Queue.FORWARD_URGENT)
        wake_ups.send(Task.FORWARD, ids=["b"], queue=Queue.FORWARD_URGENT, here=True)
        wait_for(lambda: wake_ups.depths()[Queue.GROUP] == 1, timeout_s=10, what="it waits")
        assert wake_ups.is_waiting(Task.GROUP)
        assert not wake_ups.is_waiting(Task.ARCHIVE)
        wait_for(lambda: wake_ups.depths()[Queue.FORWARD_URGENT] == 1, timeout_s=10, what="it waits too")
        wait_for(lambda: wake_ups.depth_here() == 1, timeout_s=10, what="and so does what is ours alone")
    finally:
        wake_ups.close()


def test_two_hosts_share_a_redis_and_not_the_wake_ups_of_their_spools(
    redis: tuple[str, Authority, Path],
) -> None:
    """Over TLS, with the password from its file; what anybody can do has one queue for both."""
    url, authority, folder = redis
    one = _settings(folder, "one", url, authority.path)
    home.spool_name(one)
    _says_and_hears(one)

    other = _settings(folder, "other", url, authority.path)
    home.spool_name(other)
    wake_ups = WakeUps(other)
    depths = wake_ups.depths()
    wake_ups.close()
    assert (depths[Queue.GROUP], depths[Queue.FORWARD_URGENT]) == (0, 1)


@pytest.mark.parametrize("wrong", ["authority", "password"])
def test_a_redis_that_is_not_ours_gets_nothing(redis: tuple[str, Authority, Path], wrong: str) -> None:
    """A certificate of somebody else's, or a password that is refused: no broker, and the sweeper tries again."""
    url, authority, folder = redis
    # By its other name: kombu has one pool of connections for a URL, and that of the test before is open.
    url = url.replace("127.0.0.1", "localhost")
    ca = Authority(folder, "stranger").path if wrong == "authority" else authority.path
    password = "another" if wrong == "password" else _PASSWORD
    wake_ups = WakeUps(_settings(folder, wrong, url, ca, password))
    words = "certificate is not accepted" if wrong == "authority" else "refuses"
    with pytest.raises(ServiceUnavailable, match=words):
        wake_ups.send(Task.GROUP)
    wake_ups.close()


@pytest.mark.long
def test_a_rabbitmq_keeps_wake_ups_in_quorum_queues() -> None:
    """Queues that nobody has declared yet are empty, and no error."""
    if not _RABBITMQ.exists():
        if os.environ.get("CI"):
            pytest.fail("rabbitmq-server is not installed")
        pytest.skip("rabbitmq-server is not installed")
    with tempfile.TemporaryDirectory(prefix="relay-mq-") as name:
        folder = Path(name)
        authority, (port, dist, epmd) = Authority(folder), free_ports(3)
        pair = authority.issue("server")
        (folder / "rabbitmq.conf").write_text(
            f"listeners.tcp = none\nlisteners.ssl.default = {port}\nssl_options.cacertfile = {authority.path}\n"
            f"ssl_options.certfile = {pair.certificate}\nssl_options.keyfile = {pair.key}\nssl_options.verify = verify_none\n"
            f"ssl_options.fail_if_no_peer_cert = false\ndefault_user = relay\ndefault_pass = {_PASSWORD}\n",
            "utf-8",
        )
        (folder / "plugins").write_text("[].\n", "utf-8")
        environment = {
            "HOME": name,
            "ERL_EPMD_PORT": str(epmd),
            "RABBITMQ_DIST_PORT": str(dist),
            "RABBITMQ_NODENAME": f"relay{port}@localhost",
            "RABBITMQ_MNESIA_BASE": f"{name}/mnesia",
            "RABBITMQ_LOG_BASE": f"{name}/log",
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_CONFIG_FILE": f"{name}/rabbitmq.conf",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{name}/plugins",
            "RABBITMQ_PID_FILE": f"{name}/pid",
        }
        with (folder / "said").open("wb") as log:
            server = start([str(_RABBITMQ)], output=log, environment=environment)
        try:
            wait_for(
                lambda: b"Server startup complete" in (folder / "said").read_bytes(),
                timeout_s=120,
                what="RabbitMQ is up",
            )
            settings = _settings(folder, "one", f"amqps://relay@127.0.0.1:{port}//", authority.path)
            home.spool_name(settings)
            _says_and_hears(settings)
            kinds = subprocess.run(
                ["/usr/lib/rabbitmq/bin/rabbitmqctl", "--quiet", "list_queues", "type"],
                env={**os.environ, **environment},
                capture_output=True,
                text=True,
                check=True,
            )
            assert set(kinds.stdout.split()) - {"type"} == {"quorum"}
            stranger = WakeUps(
                _settings(folder, "other", f"amqps://relay@localhost:{port}//", authority.path, "no")
            )
            with pytest.raises(ServiceUnavailable, match="refuses"):
                stranger.depths()
            with pytest.raises(ServiceUnavailable, match="refuses"):
                stranger.send(Task.FORWARD, ids=["a"], queue=Queue.FORWARD_URGENT)
            stranger.close()
            wake_ups = WakeUps(settings)
            assert wake_ups.depths()[Queue.GROUP] == 1
            # Closed by the broker, as when it is lost: the next look finds a connection again, and so does the next message.
            closed = ["/usr/lib/rabbitmq/bin/rabbitmqctl", "--quiet", "close_all_connections", "test"]
            subprocess.run(closed, env={**os.environ, **environment}, capture_output=True, check=True)
            with suppress(ServiceUnavailable):
                wake_ups.depths()
            assert wake_ups.depths()[Queue.GROUP] == 1
            stop(server, grace_s=30)
            for _ in range(2):
                with pytest.raises(ServiceUnavailable):
                    wake_ups.depths()
                with pytest.raises(ServiceUnavailable):
                    wake_ups.send(Task.GROUP)
            wake_ups.close()
        finally:
            stop(server, grace_s=30)
            subprocess.run(
                ["epmd", "-port", str(epmd), "-kill"], capture_output=True, check=False, env=os.environ
            )
