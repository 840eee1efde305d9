"""Transfers: destinations, sources, queues; and one destination by itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from tornado.web import HTTPError

from dicomrelay.ledger.rates_counting import Direction
from dicomrelay.runtime.queue_names import Queue
from dicomrelay.text import size
from monitor import charts, words
from monitor.pages import transfer_rows as rows
from monitor.pages.page import Page

_INSPECT_EVERY_S: Final = 30.0


class TransfersPage(Page):
    """All of them."""

    tab = "transfers"

    async def get(self) -> None:
        span = rows.SPANS.get(self.given("span"), rows.HOUR)
        looks = self.house.looks
        found = await looks.shared(("transfers", span.name), lambda ledger: looks.transfers(ledger, span))
        self.show(
            "relay-transfers.html",
            span=span,
            spans=rows.SPANS.values(),
            totals=rows.totals(found.flows, found.arriving),
            destinations=rows.destination_rows(found.flows, found.sent, found.outside),
            sources=rows.source_rows(found.received, found.arriving),
            queues=rows.queue_rows(
                [each.value for each in Queue], found.depths, self._workers(), found.waiting
            ),
            broker_answers=found.depths is not None,
        )

    def _workers(self) -> Mapping[str, int]:
        """How many workers that live take from each queue, as Flower knows them; it is asked to look again now and then."""
        application: Any = self.application
        now = application.io_loop.time()
        if (
            now - getattr(application, "inspected_at", float("-inf")) > _INSPECT_EVERY_S
            and application.started
        ):
            application.inspected_at = now
            application.update_workers()
        alive = application.events.state.workers
        found: Counter[str] = Counter()
        for name, info in application.workers.items():
            if name in alive and alive[name].alive:
                # Of a spool's queue, the part of its name before the host's.
                found.update({each["name"].partition("@")[0] for each in info.get("active_queues", [])})
        return found


class DestinationPage(Page):
    """One, with its charts and the same figures as a table."""

    tab = "transfers"

    async def get(self, name: str) -> None:
        span = rows.SPANS.get(self.given("span"), rows.HOUR)
        looks = self.house.looks
        flows = await looks.shared(("destination", name), lambda ledger: ledger.flow.destinations(name))
        if not flows:
            raise HTTPError(404, "there is no destination of this name")
        history = await looks.shared(
            ("sent", span.name), lambda ledger: looks.history(ledger, Direction.TO, span)
        )
        row = rows.destination_row(flows[0], history, looks.outside())
        speed = rows.bytes_curve(f"Bytes a second sent to {row.name}", history, name)
        rate = rows.instances_curve(f"Instances a second sent to {row.name}", history, name)
        self.show(
            "relay-destination.html",
            row=row,
            span=span,
            spans=rows.SPANS.values(),
            charts=[("Bytes a second", charts.large(speed)), ("Instances a second", charts.large(rate))],
            steps=[
                (words.clock(history.begin_ms + number * history.step_ms), each.instances, size(each.bytes))
                for number, each in enumerate(history.of(name))
                if each.instances
            ],
        )
