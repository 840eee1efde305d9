"""`dicomrelay doctor`."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator

import click

from dicomrelay.cli.checks.access import check_audit, check_users
from dicomrelay.cli.checks.callers import check_callers
from dicomrelay.cli.checks.certificates import check_certificates
from dicomrelay.cli.checks.destinations import check_destinations
from dicomrelay.cli.checks.edits import check_edits
from dicomrelay.cli.checks.finding import Finding, Verdict, exit_code, failed, ok
from dicomrelay.cli.checks.home import check_home
from dicomrelay.cli.checks.hosts import check_hosts
from dicomrelay.cli.checks.integrity import check_integrity
from dicomrelay.cli.checks.ports import check_ports
from dicomrelay.cli.checks.pulls import check_pulls_of
from dicomrelay.cli.checks.rules import check_rules
from dicomrelay.cli.checks.step_destinations import check_step_destinations
from dicomrelay.cli.checks.storage import (
    check_archive_storage,
    check_broker,
    check_ledger,
    check_spool,
)
from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.errors import RelayError
from dicomrelay.runtime.home import HomeLock
from dicomrelay.settings import Settings


@relay_command(
    about="What is wrong with this installation, and what to do about it: settings, home, disk, ports, broker, ledger, "
    "spool, certificates, who may call, destinations. Works whether the system runs or not, and changes nothing. "
    "Exit code 0 when nothing failed (warnings do not count), else the gravest of 4, 2, 3 and 1.",
    examples="dicomrelay doctor\ndicomrelay doctor --json --timeout 2\ndicomrelay doctor --no-destinations",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(0.1, 300),
    default=5,
    show_default=True,
    help="Seconds for each step toward a destination.",
)
@click.option("--destinations/--no-destinations", default=True, help="Call the destinations.  [default: yes]")
def command(invocation: Invocation, timeout_s: float, destinations: bool) -> int:
    findings: list[Finding] = []
    for finding in examine(invocation.settings, timeout_s if destinations else None):
        findings.append(finding)
        if not invocation.as_json:
            for line in _lines(finding):
                click.echo(line)
    code = exit_code(findings)
    counts = Counter(finding.verdict for finding in findings)
    if invocation.as_json:
        invocation.emit(
            {
                "exit_code": int(code),
                **{verdict.value: counts[verdict] for verdict in Verdict},
                "findings": [
                    {**dataclasses.asdict(finding), "code": int(finding.code) if _is_failed(finding) else 0}
                    for finding in findings
                ],
            }
        )
    else:
        invocation.say(
            f"{counts[Verdict.FAILED]} failed, {counts[Verdict.WARNING]} warnings, {counts[Verdict.OK]} ok"
        )
    return code


def examine(settings: Settings, timeout_s: float | None) -> Iterator[Finding]:
    """All checks, each told as soon as it is known.

    Parameters
    ----------
    timeout_s : float or None
        For each step toward a destination; None leaves them alone.
    """
    is_up = _is_up(settings)
    running = "`dicomrelay up` runs here" if is_up else "`dicomrelay up` does not run here"
    rules = f"rules of {settings.rules_file}" if settings.rules_file else f"{len(settings.rules)} rules"
    yield ok(
        "settings",
        f"read: {len(settings.destinations)} destinations, {rules}, {len(settings.peers)} peers; {running}",
    )
    checks: dict[str, Callable[[], Iterator[Finding]]] = {
        "home": lambda: check_home(settings),
        "ports": lambda: check_ports(settings, is_up=is_up),
        "broker": lambda: check_broker(settings, is_up=is_up),
        "ledger": lambda: check_ledger(settings),
        "hosts": lambda: check_hosts(settings),
        "archive": lambda: check_archive_storage(settings),
        "spool": lambda: check_spool(settings),
        "rules": lambda: check_rules(settings),
        "pulls": lambda: check_pulls_of(settings),
        "integrity": lambda: check_integrity(settings, is_up=is_up),
        "tls": lambda: check_certificates(settings),
        "callers": lambda: check_callers(settings),
        "edits": lambda: check_edits(settings),
        "users": lambda: check_users(settings),
        "audit": lambda: check_audit(settings, timeout_s),
    }
    if timeout_s is not None:
        checks["destinations"] = lambda: check_destinations(settings, timeout_s)
        checks["steps"] = lambda: check_step_destinations(settings, timeout_s)
    for about, check in checks.items():
        yield from _guarded(about, check)


def _is_up(settings: Settings) -> bool:
    try:
        return HomeLock(settings).is_held()
    except OSError:  # whose home is not ours to read, which its own check says
        return False


def _guarded(about: str, check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """One check that cannot be made hinders no other."""
    try:
        yield from check()
    except (RelayError, OSError) as error:
        yield failed(about, f"cannot be looked at: {error}", "mend that first, and run doctor again")


def _lines(finding: Finding) -> Iterator[str]:
    yield f"{finding.verdict.value:8} {finding.about}: {finding.words}"
    if finding.do:
        yield f"         → {finding.do}"


def _is_failed(finding: Finding) -> bool:
    return finding.verdict is Verdict.FAILED
