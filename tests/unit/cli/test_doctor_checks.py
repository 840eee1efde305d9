"""What the doctor's checks say of files, disks and ports; nothing of ours runs."""

from __future__ import annotations

import re
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dicomrelay.cli.checks.certificates import check_certificates, expiry
from dicomrelay.cli.checks.finding import Finding, Verdict, exit_code, failed, ok, warning
from dicomrelay.cli.checks.home import check_home
from dicomrelay.cli.checks.ports import check_ports
from dicomrelay.cli.checks.storage import check_broker, check_ledger, check_spool
from dicomrelay.errors import ExitCode
from dicomrelay.ledger.migrate import migrate
from dicomrelay.runtime import home
from dicomrelay.runtime.ports import free_ports
from dicomrelay.settings import Settings
from dicomrelay.spool import Spool
from tests.support.certificates import Authority


def _settings(tmp_path: Path, **sections: object) -> Settings:
    return Settings.model_validate({"home": tmp_path / "home", **sections})


def _verdicts(findings: list[Finding]) -> list[Verdict]:
    return [finding.verdict for finding in findings]


def test_the_gravest_failure_is_the_exit_code() -> None:
    """Warnings are none."""
    unreachable = failed("a", "x", "y", ExitCode.UNREACHABLE)
    corrupt = failed("b", "x", "y", ExitCode.INTEGRITY)
    assert exit_code([ok("a", "x"), warning("a", "x", "y")]) is ExitCode.OK
    assert exit_code([unreachable, ok("a", "x")]) is ExitCode.UNREACHABLE
    assert exit_code([unreachable, corrupt]) is ExitCode.INTEGRITY


def test_a_home_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    """Nothing has run here yet: a warning, and still no folder."""
    settings = _settings(tmp_path)
    assert _verdicts(list(check_home(settings))) == [Verdict.WARNING]
    assert not settings.home.exists()


def test_a_home_that_is_open_to_others_is_told(tmp_path: Path) -> None:
    """With the command that closes it; a closed one is fine."""
    settings = _settings(tmp_path, gateway={"min_free_bytes": 0})
    home.prepare(settings)
    assert set(_verdicts(list(check_home(settings)))) == {Verdict.OK}
    settings.path("spool").chmod(0o755)
    (found,) = [each for each in check_home(settings) if each.verdict is not Verdict.OK]
    assert "mode 755" in found.words
    assert found.do == f"chmod 700 {settings.path('spool')}"


@pytest.mark.parametrize(
    ("mark", "verdict"), [(0, Verdict.OK), (1 << 60, Verdict.FAILED)], ids=["room", "under the mark"]
)
def test_the_disk_is_held_against_the_low_water_mark(tmp_path: Path, mark: int, verdict: Verdict) -> None:
    """Under it the gateway answers A700."""
    settings = _settings(tmp_path, gateway={"min_free_bytes": mark})
    home.prepare(settings)
    assert {each.verdict for each in check_home(settings) if each.about == "disk"} == {verdict}


def test_ports_are_free_or_of_a_stranger(tmp_path: Path) -> None:
    """A listener that speaks neither DICOM nor HTTP is a stranger, and `ss` names it."""
    gateway, streamer, monitor = free_ports(3)
    settings = _settings(
        tmp_path, gateway={"port": gateway}, streamer={"port": streamer}, monitor={"port": monitor}
    )
    assert _verdicts(list(check_ports(settings, is_up=False))) == [Verdict.OK] * 3
    with socket.create_server(("127.0.0.1", streamer)):
        found = list(check_ports(settings, is_up=False))
    assert _verdicts(found) == [Verdict.OK, Verdict.FAILED, Verdict.OK]
    assert f":{streamer}" in found[1].do
    assert exit_code(found) is ExitCode.UNREACHABLE


def test_services_that_should_run_and_do_not_are_told(tmp_path: Path) -> None:
    """While `up` holds its lock; the line names the log."""
    settings = _settings(tmp_path, gateway={"port": free_ports(1)[0]}, monitor={"enabled": False})
    found = list(check_ports(settings, is_up=True))
    assert found[0].verdict is Verdict.FAILED
    assert "gateway.log" in found[0].do
    (embedded,) = check_broker(settings, is_up=True)
    assert embedded.verdict is Verdict.FAILED


def test_no_password_is_shown(tmp_path: Path) -> None:
    """Neither of the broker nor of the database; both are away."""
    (port,) = free_ports(1)
    settings = _settings(
        tmp_path,
        broker={"url": f"redis://:s3cret-one@127.0.0.1:{port}/0", "timeout_s": 0.5},
        database={"url": f"postgresql://relay:s3cret-two@127.0.0.1:{port}/relay"},
    )
    found = [*check_broker(settings, is_up=False), *check_ledger(settings)]
    assert _verdicts(found) == [Verdict.FAILED] * 2
    assert "s3cret" not in "".join(each.words + each.do for each in found)
    assert exit_code(found) is ExitCode.UNREACHABLE


def test_the_ledger_is_looked_at_and_not_made(tmp_path: Path) -> None:
    """None yet; of this version; damaged."""
    settings = _settings(tmp_path)
    home.prepare(settings)
    (none,) = check_ledger(settings)
    assert none.verdict is Verdict.OK
    path = settings.path("db", "ledger.sqlite")
    assert not path.exists()
    migrate(home.ledger_url(settings))
    (good,) = check_ledger(settings)
    assert (good.verdict, "revision" in good.words) == (Verdict.OK, True)
    for each in path.parent.iterdir():
        each.unlink()
    path.write_bytes(b"no database at all" * 500)
    (bad,) = check_ledger(settings)
    assert bad.verdict is Verdict.FAILED


def test_damaged_items_of_the_spool_are_an_integrity_fault(tmp_path: Path) -> None:
    """Counted, and the exit code says so."""
    settings = _settings(tmp_path)
    home.prepare(settings)
    Spool(settings.path("spool")).close()
    (good,) = check_spool(settings)
    assert good.verdict is Verdict.OK
    settings.path("spool", "corrupt", "x.dcm").write_bytes(b"x")
    (bad,) = check_spool(settings)
    assert (bad.verdict, bad.code) == (Verdict.FAILED, ExitCode.INTEGRITY)


# ---- certificates


@pytest.mark.parametrize(
    ("days", "verdict", "words"),
    [(90, Verdict.OK, "until"), (29, Verdict.WARNING, "expires on"), (-1, Verdict.FAILED, "expired on")],
)
def test_a_certificate_is_watched_for_thirty_days(
    tmp_path: Path, days: int, verdict: Verdict, words: str
) -> None:
    """Warned of before, failed once expired."""
    authority = Authority(tmp_path)
    tls = authority.acceptor(authority.issue("gate", days=days), mutual=True)
    found = list(check_certificates(_settings(tmp_path, gateway={"tls": tls})))
    (gate,) = [each for each in found if "gate.pem" in each.words]
    assert gate.verdict is verdict
    assert words in gate.words
    assert bool(gate.do) == (verdict is not Verdict.OK)


def test_files_of_tls_that_do_not_fit_are_told(tmp_path: Path) -> None:
    """Of the gateway and of each destination; the other checks go on."""
    authority = Authority(tmp_path)
    one, other = authority.issue("one"), authority.issue("other")
    destination = {"name": "pacs", "ae_title": "PACS", "host": "h", "tls": {"ca": tmp_path / "none.pem"}}
    settings = _settings(
        tmp_path,
        gateway={"tls": {"certificate": one.certificate, "key": other.key}},
        destinations=[destination],
    )
    found = [each for each in check_certificates(settings) if each.verdict is Verdict.FAILED]
    assert ["does not belong" in found[0].words, "none.pem" in found[1].words] == [True, True]
    assert {each.code for each in found} == {ExitCode.USAGE}


def test_a_chain_in_the_wrong_order_and_an_open_key_are_told(tmp_path: Path) -> None:
    """What OpenSSL itself lets pass."""
    authority = Authority(tmp_path)
    pair = authority.issue("gate")
    pair.key.chmod(0o644)
    stranger = Authority(tmp_path, "stranger")
    pair.certificate.write_bytes(pair.certificate.read_bytes() + stranger.path.read_bytes())
    found = list(check_certificates(_settings(tmp_path, gateway={"tls": authority.acceptor(pair)})))
    assert any(each.verdict is Verdict.FAILED and "its issuer is" in each.words for each in found)
    assert any(each.do == f"chmod 600 {pair.key}" for each in found)


def test_time_is_what_the_caller_says(tmp_path: Path) -> None:
    """So that a monitor may ask about next month."""
    authority = Authority(tmp_path)
    settings = _settings(tmp_path, gateway={"tls": authority.acceptor(authority.issue("gate", days=60))})
    soon = datetime.now(UTC) + timedelta(days=45)
    assert Verdict.WARNING in [each.verdict for each in check_certificates(settings, soon)][:1]


def test_what_cron_looks_for_on_the_page_is_what_is_said_of_a_certificate() -> None:
    """A warning leaves the exit code 0, so the page tells cron to look for words."""
    page = (Path(__file__).parents[3] / "docs/howto/tls.md").read_text()
    found = re.search(r"dicomrelay doctor \| grep -A 1 -E '([^']+)'", page)
    assert found is not None
    now = datetime(2026, 11, 22, tzinfo=UTC)
    said = {days: expiry("tls", "CN=relay", now + timedelta(days=days), now).words for days in (-1, 29, 90)}
    assert [bool(re.search(found[1], words)) for words in said.values()] == [True, True, False]
