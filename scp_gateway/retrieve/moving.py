"""A C-MOVE under way: a thread sends, while the association's own tells how far it is and hears the peer."""

from __future__ import annotations

import threading
from collections.abc import Callable

from dicomrelay.delivery import Answer
from dicomrelay.dicom.status import Outcome
from dicomrelay.dimse.messages import CGetResponse, CMoveResponse
from dicomrelay.errors import RelayError
from dicomrelay.log import get_logger
from dicomrelay.net import service
from dicomrelay.net.outcomes import judge
from scp_gateway.retrieve.counting import Counting
from scp_gateway.retrieve.files import RetrievedFiles
from scp_gateway.retrieve.pace import BookedPace
from scp_gateway.retrieve.port import MovePort
from scp_gateway.retrieve.sending import send_all
from scp_gateway.retrieve.targets import MoveTarget

_log = get_logger("dicomrelay.gateway")


class Mover:
    """Sends the instances of one C-MOVE.

    Parameters
    ----------
    over : callable
        Called when nothing is sent any more, whatever happened: the move's turn is over.
    """

    def __init__(
        self,
        files: RetrievedFiles,
        target: MoveTarget,
        counting: Counting,
        port: MovePort,
        over: Callable[[], None],
    ) -> None:
        self._files = files
        self._target = target
        self._counting = counting
        self._port = port
        self._over = over
        self._stop = threading.Event()
        self._done = threading.Event()
        self._lock = threading.Lock()

    def start(self) -> None:
        """Begin. Raises RuntimeError when there is no thread for it; the turn is over then."""
        try:
            threading.Thread(target=self._run, name=f"move {self._target.name}", daemon=True).start()
        except RuntimeError:
            self._over()
            raise

    def stop(self) -> None:
        """Begin nothing more."""
        self._stop.set()

    def wait(self, seconds: float) -> bool:
        """Wait so long at most; whether all is over."""
        return self._done.wait(seconds)

    def pending(self) -> CMoveResponse | CGetResponse:
        """How far it is."""
        with self._lock:
            return self._counting.pending()

    def last(self, transfer_syntax_uid: str, *, is_cancelled: bool) -> service.Answer:
        """The last response; what is not over yet counts as remaining."""
        with self._lock:
            return self._counting.last(transfer_syntax_uid, is_cancelled=is_cancelled)

    # ---- in its own thread

    def _run(self) -> None:
        try:
            send_all(
                self._files.instances,
                self._target.target,
                locate=self._files.locate,
                answered=self._answered,
                keep_going=self._keep_going,
                pace=self._pace(),
            )
        except (RelayError, OSError) as error:
            self._fail_the_rest(judge(error).name)
        except Exception as error:  # noqa: BLE001 - the edge of a thread: its words could hold patient data
            _log.error("a fault of a move", action="move.fault", error=type(error).__name__)
            self._fail_the_rest("a fault of the service")
        finally:
            self._files.close()
            self._over()
            self._done.set()

    def _keep_going(self) -> bool:
        return not self._stop.is_set()

    def _answered(self, answer: Answer) -> None:
        with self._lock:
            self._counting.add(self._files.uid(answer.key), answer.outcome, answer.words)
        self._files.sent(answer.key)

    def _fail_the_rest(self, words: str) -> None:
        """Nothing of it was sent, and nothing will be."""
        if self._stop.is_set():
            return
        with self._lock:
            for instance in self._files.instances:
                uid = self._files.uid(instance.key)
                if not self._counting.is_known(uid):
                    self._counting.add(uid, Outcome.RETRY, words)

    def _pace(self) -> BookedPace | None:
        settings = self._target.settings
        limit = settings.max_bytes_per_s
        if limit is None:
            return None
        return BookedPace(
            limit,
            share=settings.associations,
            book=lambda count: self._port.book(settings.name, count, limit),
            keep_going=self._keep_going,
        )
