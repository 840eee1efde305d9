"""Who is asked at the doors of HTTP, and whether what happens is recorded and heard."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime

from dicomrelay.access import Role, users_file
from dicomrelay.access.users import Users
from dicomrelay.audit import trail_of
from dicomrelay.audit.repository import Connection, RepositoryAway
from dicomrelay.audit.shipped import Shipped
from dicomrelay.cli.checks.finding import Finding, failed, ok, warning
from dicomrelay.errors import ConfigurationError, ExitCode
from dicomrelay.settings import Settings, is_loopback

_BEHIND_S = 300


def check_users(settings: Settings) -> Iterator[Finding]:
    """Can they be read, can anybody come in, is anybody asked where others can reach the door."""
    path = settings.users_path
    try:
        kept = users_file.read(path) if users_file.identity(path) is not None else ()
        accounts = [*settings.users, *kept]
        Users.of(accounts)
    except ConfigurationError as error:
        words = "put the right file there; `dicomrelay users` writes it"
        yield failed("users", str(error), words, ExitCode.USAGE)
        return
    today = datetime.now(UTC).date()
    unable = [
        user.name
        for user in accounts
        if user.password_hash is None
        and not any(token.expires is None or token.expires >= today for token in user.tokens)
    ]
    if unable:
        yield warning(
            "users",
            f"{', '.join(unable)} cannot come in: no password, and no token that is taken",
            f"dicomrelay users token add {unable[0]} NAME, or dicomrelay users passwd {unable[0]}",
        )
    host = settings.streamer.host
    if not accounts and settings.streamer.access is None and not is_loopback(host):
        yield warning(
            "users",
            f"the streamer listens on {host} and asks nobody: whoever reaches it sees every image",
            "dicomrelay users add NAME --role admin",
        )
    elif accounts:
        counts = ", ".join(f"{sum(user.role is role for user in accounts)} {role.value}" for role in Role)
        yield ok("users", f"{len(accounts)}: {counts}")


def check_audit(settings: Settings, timeout_s: float | None) -> Iterator[Finding]:
    """Is the trail kept, and has the repository heard it.

    Parameters
    ----------
    timeout_s : float or None
        To call the repository; None leaves it alone.
    """
    audit = settings.audit
    if not audit.enabled:
        yield warning("audit", "audit.enabled is false: nobody knows later who did what", "leave it out")
        return
    folder = settings.path("audit")
    if folder.exists() and not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        yield failed(
            "audit",
            f"{folder} may not be written by user {os.getuid()}: commands that change something are refused",
            f"chown -R {os.getuid()} {folder}",
        )
        return
    segments = trail_of(settings).segments()
    yield ok("audit", f"{folder}: {len(segments)} files" if segments else "nothing has been recorded yet")
    if audit.syslog is None or timeout_s is None:
        return
    where = f"{audit.syslog.host}:{audit.syslog.port}"
    try:
        Connection(audit.syslog.model_copy(update={"timeout_s": timeout_s})).close()
    except (RepositoryAway, ConfigurationError) as error:
        yield failed(
            "audit.syslog", str(error), "what happens is kept, and sent when it answers", ExitCode.UNREACHABLE
        )
        return
    behind = _behind_s(settings)
    if behind > _BEHIND_S:
        yield warning(
            "audit.syslog",
            f"{where} answers, and has not heard the last {behind / 60:.0f} minutes of the trail",
            "start `dicomrelay up`, or `dicomrelay audit ship`",
        )
    else:
        yield ok("audit.syslog", f"{where} answers")


def _behind_s(settings: Settings) -> float:
    """How old the oldest entry is that the repository has not heard, in seconds; 0 for none."""
    trail, place = trail_of(settings), Shipped(settings.path("audit")).read()
    for segment in trail.segments():
        if place is not None and segment < place.segment:
            continue
        offset = place.offset if place is not None and segment == place.segment else 0
        written = trail.path(segment).stat()
        if written.st_size > offset:
            return max(0.0, datetime.now(UTC).timestamp() - written.st_mtime)
    return 0.0
