"""What our pages have in common."""

from __future__ import annotations

from typing import Any, Final

from flower.views import BaseHandler
from tornado.web import HTTPError, RequestHandler

from dicomrelay.access import Action
from dicomrelay.errors import LedgerError, ServiceUnavailable
from dicomrelay.text import shown
from monitor.guard import Guard

_SAID: Final = "said"
_LONGEST: Final = 256


class Page(Guard, BaseHandler):  # type: ignore[misc]  # Flower has no types
    """HTML that is whole without a script; with one it is asked for again and changed in place."""

    is_ours = True
    tab = ""

    def set_default_headers(self) -> None:
        super().set_default_headers()
        self.set_header("Cache-Control", "no-store")

    def check_xsrf_cookie(self) -> None:
        """The page of another site is refused, and so is a form that is not ours: it lacks the token."""
        Guard.check_xsrf_cookie(self)
        RequestHandler.check_xsrf_cookie(self)

    def given(self, name: str, default: str = "") -> str:
        """One argument of the address, as it came; cut where it is too long to be one."""
        return str(RequestHandler.get_query_argument(self, name, default))[:_LONGEST]

    def show(self, template: str, **what: Any) -> None:
        """Render it, with what every page needs."""
        self.render(
            template,
            tab=self.tab,
            said=self.house.said.get(self.given(_SAID)),
            may_operate=self.may(Action.RETRY),
            door_asks=self.door_asks,
            user=self.user,
            here=self.request.path,
            **what,
        )

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Trouble with the ledger is said in words, on a page that goes on by itself when it is over."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        if isinstance(error, ServiceUnavailable | LedgerError):
            self.set_status(503)
            self.show("relay-trouble.html", trouble=shown(str(error)), is_away=True)
            return
        if isinstance(error, HTTPError) and status_code in (400, 403, 404, 405):
            words = error.log_message or f"{status_code} {self._reason}"
            self.show("relay-trouble.html", trouble=words, is_away=False)
            return
        self.finish(f"{status_code} {self._reason}\n")
