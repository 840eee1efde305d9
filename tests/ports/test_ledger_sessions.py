"""Sessions with PostgreSQL that are over, or with a server that is no primary any more: another one is begun."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text

from dicomrelay.cli.ledgers import opened_ledger
from dicomrelay.errors import ConfigurationError, ServiceUnavailable
from dicomrelay.ledger import Ledger, named_leases
from dicomrelay.ledger.engine import Database, Work
from dicomrelay.settings import load
from tests.support.house import wait_for
from tests.support.ledger import MINUTE_MS


@pytest.fixture
def shared_url(backend: str, ledger_url: str) -> str:
    """Of a database that is a server's."""
    if backend == "sqlite":
        pytest.skip("a file has no sessions")
    return ledger_url


def _set(url: str, words: str) -> None:
    name = url.partition("@/")[2].partition("?")[0]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET default_transaction_read_only = off")
        connection.execute(f'ALTER DATABASE "{name}" {words}'.encode())


def _until_cut_off(url: str) -> None:
    """Nobody stands still in the midst of a transaction any more."""
    of_them = "FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'"
    with psycopg.connect(url, autocommit=True) as connection:
        wait_for(
            lambda: connection.execute(f"SELECT 1 {of_them}".encode()).fetchone() is None,
            timeout_s=30,
            what="the session is ended",
        )


def test_a_server_that_became_a_standby_is_away_and_asked_no_more(shared_url: str) -> None:
    """It refuses what is written and answers all else: who kept its connections would stay there for ever."""
    _set(shared_url, "SET default_transaction_read_only = on")
    ledger = Ledger.open(shared_url)
    try:
        with pytest.raises(ServiceUnavailable, match="target_session_attrs=read-write"):
            ledger.named_leases.take("x", owner="a", lease_ms=MINUTE_MS)
        _set(shared_url, "RESET default_transaction_read_only")
        assert ledger.named_leases.take("x", owner="a", lease_ms=MINUTE_MS) == 1
    finally:
        ledger.dispose()
        _set(shared_url, "RESET default_transaction_read_only")


def test_who_was_stopped_in_a_transaction_has_lost_it_and_goes_on(shared_url: str) -> None:
    """As a process that got SIGSTOP: the server has ended its session, and nothing of it is written."""
    database = Database(shared_url)

    def stop(work: Work) -> object:
        work.connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 50"))
        _until_cut_off(shared_url)
        return work.connection.execute(text("SELECT 1")).scalar()

    with pytest.raises(ServiceUnavailable, match="idle-in-transaction"):
        database.transact(stop)
    assert database.transact(lambda work: work.connection.execute(text("SELECT 2")).scalar()) == 2
    database.dispose()


def test_who_stands_still_while_it_asks_who_leads_keeps_nobody_waiting(
    shared_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its question has locked the row; the session is over long before that of any other transaction."""
    assert named_leases._IDLE_MS == 5000
    monkeypatch.setattr(named_leases, "_IDLE_MS", 50)
    ledger = Ledger.open(shared_url)
    ledger.named_leases.take("x", owner="a", lease_ms=MINUTE_MS)

    def stand_still(_owner: str) -> bool:
        _until_cut_off(shared_url)
        return False

    with pytest.raises(ServiceUnavailable, match="idle-in-transaction"):
        ledger.named_leases.take("x", owner="b", lease_ms=MINUTE_MS, is_gone=stand_still)
    monkeypatch.undo()
    assert ledger.named_leases.take("x", owner="a", lease_ms=MINUTE_MS) == 1
    ledger.dispose()


def test_a_ledger_at_a_server_is_looked_at_from_anywhere(shared_url: str, tmp_path: Path) -> None:
    """With the settings alone, in a home where nothing has run; one that was never migrated is no ledger yet."""
    (tmp_path / "relay.toml").write_text(f'[database]\nurl = "{shared_url}"\n', "utf-8")
    with opened_ledger(load(home=tmp_path)) as ledger:
        assert ledger.hosts() == []
    other = shared_url.replace(shared_url.partition("@/")[2].partition("?")[0], "template1")
    (tmp_path / "relay.toml").write_text(f'[database]\nurl = "{other}"\n', "utf-8")
    with pytest.raises(ConfigurationError, match="nothing has run"), opened_ledger(load(home=tmp_path)):
        pass
