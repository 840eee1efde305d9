"""`/metrics`, `/healthz` and `/readyz` at Flower's port: the whole home, then Flower's own (docs/design/metrics.md)."""

from __future__ import annotations

import asyncio
from typing import Any

import prometheus_client
from tornado.web import RequestHandler

from dicomrelay import access
from dicomrelay.access import Action
from dicomrelay.metrics import exposition
from dicomrelay.metrics.gathering import gather
from dicomrelay.runtime.health import Health, services_of
from dicomrelay.settings import Settings
from dicomrelay.web.endpoint import shows_token, token_of

_TEXT = "text/plain; charset=utf-8"


def install(settings: Settings) -> None:
    """Put our pages into Flower's, before it is started; its own `/metrics`, which asks nobody who they are, goes.

    Raises
    ------
    ConfigurationError
        metrics.token_file cannot be read.
    """
    from flower import urls  # noqa: PLC0415 - it looks at the command line when it is imported

    ours = {"settings": settings, "token": token_of(settings), "health": health_of(settings)}
    pages = [(r"/metrics", _Metrics, ours), (r"/healthz", _Healthz, ours), (r"/readyz", _Readyz, ours)]
    theirs = [each for each in urls.handlers if not (isinstance(each, tuple) and each[0] == r"/metrics")]
    urls.handlers[:] = [*pages, *theirs]


def health_of(settings: Settings) -> Health:
    """Of everything, where `up` runs in this home; else of Flower, which answers."""
    in_all = services_of(settings)

    def check() -> str:
        said = in_all()
        return "" if said == "`dicomrelay up` does not run" else said

    return Health({"services": check})


class _Page(RequestHandler):
    """What the three have in common."""

    def initialize(self, settings: Settings, token: str, health: Health) -> None:
        self.settings_of_relay = settings
        self.token = token
        self.health = health

    def set_default_headers(self) -> None:
        self.set_header("Content-Type", _TEXT)
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Content-Type-Options", "nosniff")

    def write_error(self, status_code: int, **_: Any) -> None:
        self.finish(f"{status_code}\n")


class _Healthz(_Page):
    def get(self) -> None:
        """It answers."""
        self.finish("ok\n")


class _Readyz(_Page):
    async def get(self) -> None:
        """Whether everything is ready."""
        report = await asyncio.to_thread(self.health.report)
        self.set_status(200 if report.is_ready else 503)
        self.finish(report.text())


class _Metrics(_Page):
    async def get(self) -> None:
        """Ours, then Flower's."""
        if not await self._may():
            self.set_status(401)
            self.set_header("WWW-Authenticate", access.challenge())
            self.finish("show the token of metrics.token, or a user and password of Flower\n")
            return
        folder = self.settings_of_relay.path("run", "metrics")
        ours = await asyncio.to_thread(lambda: exposition.render(gather(folder)))
        self.application.purge_offline_worker_metrics()  # type: ignore[attr-defined]  # Flower's
        self.set_header("Content-Type", exposition.CONTENT_TYPE)
        self.finish(ours.encode() + prometheus_client.generate_latest())

    async def _may(self) -> bool:
        """By the token of the figures, or as somebody whom Flower lets look."""
        field = self.request.headers.get("Authorization")
        if not await asyncio.to_thread(access.is_asked, self.settings_of_relay):
            return shows_token(field, self.token)
        if self.token and shows_token(field, self.token):
            return True
        address = self.request.remote_ip or ""
        user = await asyncio.to_thread(access.authenticate, self.settings_of_relay, field, address=address)
        return user is not None and access.may(user.role, Action.VIEW)
