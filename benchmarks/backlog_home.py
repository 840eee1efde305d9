"""A home with a backlog: a ledger and a spool as they are when a destination is away and instances go on coming."""

from __future__ import annotations

from pathlib import Path

from benchmarks.data_sets import CT_IMAGE_STORAGE
from dicomrelay.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN
from dicomrelay.ledger import Ledger
from dicomrelay.ledger.grouping import CompletionPolicy
from dicomrelay.ledger.migrate import migrate
from dicomrelay.ledger.values import Arrival, DestinationInfo
from dicomrelay.runtime import home
from dicomrelay.settings import load
from dicomrelay.spool.layout import ITEM, Layout

DESTINATION = "away"
A_STUDY = 200
A_TRANSFER = 10
_AT_ONCE = 200  # arrivals that the group worker registers in one transaction
_ASSOCIATIONS = 64
_BUCKET = 10_000


class BacklogHome:
    """A home to fill; `dispose` closes its ledger.

    Each instance goes to every one of `destinations`; `database_url` is an empty database, "" for SQLite in the home.

    Attributes
    ----------
    depth : int
        Instances that are queued.
    host : str
        Whose spool they are in.
    """

    host = "bench"

    def __init__(
        self, folder: Path, *, destinations: tuple[str, ...] = (DESTINATION,), database_url: str = ""
    ) -> None:
        self.folder = folder
        self.depth = 0
        self._destinations = destinations
        settings = load(home=folder)
        home.prepare(settings)
        url = database_url or home.ledger_url(settings)
        migrate(url)
        self._layout = Layout(settings.path("spool"))
        self._layout.kept.mkdir(parents=True, exist_ok=True)
        self.ledger = Ledger.open(url)
        self.ledger.sync_destinations(
            [
                DestinationInfo(each, "AWAY", "127.0.0.1", 1, associations=_ASSOCIATIONS)
                for each in destinations
            ]
        )

    def dispose(self) -> None:
        """Close the ledger."""
        self.ledger.dispose()

    def fill(self, depth: int) -> None:
        """Register instances as the group worker does, until so many are queued, in transfers of `A_TRANSFER`."""
        policy = CompletionPolicy(0, 0, A_TRANSFER, 1 << 40)
        while self.depth < depth:
            count = min(_AT_ONCE, depth - self.depth)
            arrivals = [self._arrival(number) for number in range(self.depth, self.depth + count)]
            self._put_into_spool(arrivals)
            self.ledger.register(arrivals)
            self.depth += count
            while self.ledger.completion.complete(policy, limit=100).transfers:
                pass

    def _arrival(self, number: int) -> Arrival:
        study = f"1.2.826.0.1.3680043.8.498.{1 + number // A_STUDY}"
        return Arrival(
            spool_id=f"{number // _BUCKET:08x}{number:020x}",
            host=self.host,
            sop_class_uid=CT_IMAGE_STORAGE,
            sop_instance_uid=f"{study}.1.{number}",
            study_instance_uid=study,
            series_instance_uid=f"{study}.1",
            transfer_syntax_uid=EXPLICIT_VR_LITTLE_ENDIAN,
            modality="CT",
            data_set_offset=900,
            data_set_bytes=525_000,
            digest=f"{number:064x}",
            calling_ae_title="BENCH",
            called_ae_title="DICOMRELAY",
            peer_address="127.0.0.1",
            association_id=f"{number // A_STUDY:012x}",
            received_at_ms=1_700_000_000_000 + number,
            destinations=self._destinations,
        )

    def _put_into_spool(self, arrivals: list[Arrival]) -> None:
        """Names without bytes: what counts them looks at names and sizes."""
        for arrival in arrivals:
            bucket = self._layout.bucket(arrival.spool_id)
            bucket.mkdir(exist_ok=True)
            (bucket / f"{arrival.spool_id}{ITEM}").touch()
