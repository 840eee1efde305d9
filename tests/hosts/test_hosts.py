"""Hosts of namespaces are what the proof says they are; and the proof itself, one trial of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chaos.figures import Figure, Row
from chaos.hosts import report
from chaos.hosts.host import Host, Network, missing_hosts
from chaos.oracle import Account
from tests.support.house import wait_for


def _require_hosts() -> None:
    """Where nobody is root there are none; a machine of ours that has root has to have them."""
    why = missing_hosts()
    if why and os.environ.get("CI") and os.geteuid() == 0:
        pytest.fail(why)
    if why:
        pytest.skip(why)


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[tuple[Host, Host]]:
    """Two, on one network."""
    _require_hosts()
    tmp_path.chmod(0o755)
    with Network() as network:
        made = [Host(network, name, tmp_path / "hosts") for name in ("one", "other")]
        try:
            for host in made:
                host.start()
            yield made[0], made[1]
        finally:
            for host in made:
                host.close()


def _reaches(one: Host, other: Host) -> bool:
    code = f"import socket; socket.create_connection(({other.address!r}, 7777), timeout=0.5)"
    return one.ask(sys.executable, "-S", "-c", code).returncode == 0


_LISTEN = "import socket, time; s = socket.create_server(('', 7777), backlog=64); time.sleep(600)"


def test_a_host_has_a_name_processes_and_a_disk_of_its_own(hosts: tuple[Host, Host]) -> None:
    """Nobody sees another's: what a worker reads it has from the archive."""
    one, other = hosts
    (one.folder / "mine").write_text("x", "utf-8")
    seen = one.ask("sh", "-c", f"hostname; ls {one.folder.parent}; ls {one.folder}; echo $$").stdout.split()
    assert seen[:2] == ["one", "one"]
    assert "mine" in seen
    assert int(seen[-1]) < 1000  # counted in a namespace of its own
    assert other.ask("ls", str(one.folder)).returncode != 0


def test_a_wire_that_is_cut_passes_nothing_and_a_host_that_is_killed_is_gone(
    hosts: tuple[Host, Host],
) -> None:
    """Whole, with what it runs; its disk stays, and started again it is the same host."""
    one, other = hosts
    other.run("server", [sys.executable, "-S", "-c", _LISTEN])
    _until(lambda: _reaches(one, other))
    other.cut()
    assert not _reaches(one, other)
    other.mend()
    _until(lambda: _reaches(one, other))

    pid = other.pid("server")
    other.kill()
    assert not Path(f"/proc/{pid}").exists()
    assert not _reaches(one, other)
    other.start()
    other.run("server", [sys.executable, "-S", "-c", _LISTEN])
    _until(lambda: _reaches(one, other))
    assert other.terminate("server", within_s=5) < 5


def test_a_wire_can_be_slow(hosts: tuple[Host, Host]) -> None:
    """By a token bucket in both directions, taken away again."""
    one, _ = hosts
    one.slow(1000)
    shown = one.ask("tc", "qdisc", "show", "dev", "eth0").stdout
    assert "tbf" in shown
    assert "1Mbit" in shown
    one.quick()
    assert "tbf" not in one.ask("tc", "qdisc", "show", "dev", "eth0").stdout


def test_the_page_is_what_was_measured() -> None:
    """And nothing on it was lost."""
    rows = report.read()
    assert report.render(rows) == report.PAGE.read_text("utf-8")
    assert rows
    assert not [row.fault for row in rows.values() if row.account is None or not row.account.is_clean]


def test_a_row_of_the_page_is_all_its_trials() -> None:
    """Sums, and the worst of each figure, by the bar of today; what had other figures once is begun anew."""

    def row(acknowledged: int, slowest_s: float, least: float, bar: float = 120) -> Row:
        figures = (
            Figure("caught up", slowest_s, "s", bar=bar),
            Figure("taken", least, bar=1, at_least=True),
        )
        account = Account(offered=acknowledged, acknowledged=acknowledged)
        return Row("x", "x", 1, "redis", 1, account, figures, seconds=1.0, date="2026-11-22")

    both = report.merged(row(10, 50, 3, bar=90), row(20, 40, 2))
    assert both.account is not None
    assert (both.trials, both.account.acknowledged, both.seconds) == (2, 30, 2.0)
    assert [(each.value, each.bar) for each in both.figures] == [(50, 120), (2, 1)]
    fresh = Row("x", "x", 1, "redis", 1, Account(), (Figure("other", 1),))
    assert report.merged(both, fresh) == fresh


@pytest.mark.long
def test_a_gateway_host_that_is_lost_keeps_what_it_acknowledged(tmp_path: Path) -> None:
    """Nine hosts, and a part of the proof on them: `make hosts` is all of it."""
    _require_hosts()
    argv = [sys.executable, "-m", "chaos.hosts", "--only", "gateway-lost"]
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=600, check=False, env=os.environ)
    if ended.returncode == 3 and not os.environ.get("CI"):
        pytest.skip(ended.stderr.strip())
    assert ended.returncode == 0, ended.stdout + ended.stderr


def _until(condition: Callable[[], bool]) -> None:

    wait_for(condition, timeout_s=10, what="the other host answers")
