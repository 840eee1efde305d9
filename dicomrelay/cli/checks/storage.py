"""Spool, ledger and broker."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from sqlalchemy.exc import SQLAlchemyError

from archive.storage.opening import open_storage
from dicomrelay.cli.checks.finding import Finding, failed, ok, warning
from dicomrelay.errors import ConfigurationError, ExitCode, RelayError, ServiceUnavailable
from dicomrelay.ledger.database_errors import mapped_errors
from dicomrelay.ledger.engine import open_engine
from dicomrelay.ledger.migrate import current_revision, newest_revision
from dicomrelay.runtime import broker, home, servers
from dicomrelay.runtime.queue import WakeUps
from dicomrelay.settings import Settings
from dicomrelay.spool import Spool
from dicomrelay.text import shown


def check_spool(settings: Settings) -> Iterator[Finding]:
    """What waits, what was set aside, what is damaged."""
    folder = settings.path("spool")
    if not folder.is_dir():
        yield ok("spool", "none yet")
        return
    try:
        home.known_spool_name(settings)
    except ConfigurationError as error:
        yield failed(
            "spool", str(error), "`dicomrelay repair`, also beside a running relay", ExitCode.INTEGRITY
        )
    with Spool(folder) as spool:
        usage = spool.usage()
    words = f"{usage.new} waiting, {usage.kept} kept, {usage.aside} set aside, {usage.corrupt} damaged"
    if usage.corrupt:
        yield failed(
            "spool",
            words,
            "`dicomrelay check` says which of them live on elsewhere; send the others again, and check the disk",
            ExitCode.INTEGRITY,
        )
    elif usage.aside:
        yield warning("spool", words, "`dicomrelay status` lists what came twice with other bytes")
    else:
        yield ok("spool", words)


def check_ledger(settings: Settings) -> Iterator[Finding]:
    """Does it answer, and is it of this version."""
    about = "ledger"
    if (
        _is_embedded(settings.database.url.get_secret_value())
        and not settings.path("db", "ledger.sqlite").exists()
    ):
        yield ok(about, "none yet: it is made at the first start")
        return
    engine = open_engine(home.ledger_url(settings))
    try:
        with mapped_errors(engine.url.render_as_string(hide_password=True)), engine.connect() as connection:
            found = current_revision(connection)
    except ServiceUnavailable as error:
        yield failed(about, str(error), "start the database, or correct database.url", ExitCode.UNREACHABLE)
        return
    except (RelayError, SQLAlchemyError) as error:
        why = str(error) if isinstance(error, RelayError) else type(error).__name__
        yield failed(
            about,
            f"cannot be read: {shown(why)}",
            "stop the relay and run `dicomrelay repair`: it is built again from spool and archive; or restore db/",
            ExitCode.INTEGRITY,
        )
        return
    finally:
        engine.dispose()
    yield from _says_it_openly(settings)
    newest = newest_revision()
    if found == newest:
        yield ok(about, f"answers, revision {found}")
    elif found is None or found < newest:
        yield warning(
            about,
            f"revision {found or 'none'}, this version has {newest}",
            "it is migrated at the next start",
        )
    else:
        yield failed(about, f"revision {found} is of a newer dicomrelay", "update dicomrelay", ExitCode.USAGE)


def _says_it_openly(settings: Settings) -> Iterator[Finding]:
    """UIDs, names of peers and the worklist's patients travel to it."""
    database = settings.database
    if database.tls is None and servers.is_plain_to_another_host(database.url.get_secret_value()):
        yield warning(
            "ledger",
            "the database is on another host and spoken to without TLS that checks who it is",
            "set database.tls",
        )


def check_archive_storage(settings: Settings) -> Iterator[Finding]:
    """Does the bucket answer, where the archive is in one."""
    if settings.archive.url is None or not settings.archive.enabled:
        return
    about = "archive"
    try:
        storage = open_storage(settings.archive, settings.archive_path)
        if storage is not None:
            next(storage.list("data"), None)
    except ConfigurationError as error:
        yield failed(about, str(error), "install it, or correct the setting", ExitCode.USAGE)
    except (ServiceUnavailable, OSError) as error:
        yield failed(
            about,
            str(error),
            "start it, or correct [archive]; what arrives is kept in the spool until then",
            ExitCode.UNREACHABLE,
        )
    else:
        yield ok(about, f"{settings.archive.url} answers")


def check_broker(settings: Settings, *, is_up: bool) -> Iterator[Finding]:
    """Does it answer."""
    url = settings.broker.url.get_secret_value()
    if _is_embedded(url):
        yield _embedded_broker(settings, is_up=is_up)
        return
    where = urlsplit(url).hostname or "the socket of broker.url"  # the URL itself may hold a password
    wake_ups = WakeUps(settings)
    try:
        waiting = sum(wake_ups.depths().values())
        yield ok("broker", f"{where} answers, {waiting} messages wait")
        if servers.is_plain_to_another_host(url):
            yield warning(
                "broker",
                f"{where} is spoken to without TLS: its password can be read on the way",
                "use a rediss:// or amqps:// URL, and broker.tls",
            )
    except ServiceUnavailable as error:
        yield failed(
            "broker",
            f"{where}: {error}; what arrives is kept in the spool",
            "start it, or correct what the settings say of it: broker.url, password_file, tls",
            ExitCode.UNREACHABLE,
        )
    finally:
        wake_ups.close()


def _embedded_broker(settings: Settings, *, is_up: bool) -> Finding:
    try:
        binary = broker.server_binary()
    except ServiceUnavailable as error:
        return failed("broker", str(error), "install one of them", ExitCode.UNREACHABLE)
    if not is_up:
        return ok("broker", f"embedded, started by `dicomrelay up` ({binary.name})")
    if broker.answers(settings):
        return ok("broker", "embedded, answers")
    return failed(
        "broker",
        "embedded, and does not answer; what arrives is kept in the spool",
        f"see {settings.path('logs', 'broker.log')}",
        ExitCode.UNREACHABLE,
    )


def _is_embedded(url: str) -> bool:
    return url == "embedded"
