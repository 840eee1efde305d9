"""A ledger with a deep backlog, written row by row beside the ledger's own code: minutes of receiving in seconds."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, create_engine, text

from dicomrelay.ledger.engine import database_url

HOST = "gateway-1"
_NOW = 1_700_000_000_000

_STUDY = """INSERT INTO studies (study_instance_uid, first_received_at, last_received_at, ungrouped_at)
    VALUES (:study, :at, :at, NULL)"""
_SERIES = "INSERT INTO series VALUES (:study, :series, 'CT')"
_INSTANCE = """INSERT INTO instances (id, state, spool_id, host, sop_class_uid, sop_instance_uid, study_instance_uid,
    series_instance_uid, transfer_syntax_uid, modality, data_set_offset, data_set_bytes, digest, calling_ae_title,
    called_ae_title, peer_address, association_id, received_at, registered_at, source_path, archive_wanted, archive_path,
    frames, all_deliveries, open_deliveries, released_at)
    VALUES (:id, 'kept', :id, :host, '1.2.840.10008.5.1.4.1.1.2', :uid, :study, :series, '1.2.840.10008.1.2.1', 'CT', 900,
    525000, :digest, 'CT_1', 'DICOMRELAY', '10.0.0.1', 'a1', :at, :at, :nothing, :wanted, :path, 1, 1, :open, NULL)"""
_TRANSFER = """INSERT INTO transfers (id, study_instance_uid, destination, priority, job_id, state, due_at, fence, owner,
    attempt, instances, bytes, reason, created_at, finished_at, advice)
    VALUES (:transfer, :study, 'pacs', 'normal', '', :state, :due, :fence, '', :fence, :instances, :bytes, :reason, :at,
    NULL, :advice)"""
_DELIVERY = """INSERT INTO deliveries (instance_id, destination, job_id, study_instance_uid, priority, bytes, transfer_id,
    state, attempts, status, reason, association_id, sent_bytes, duration_ms, created_at, updated_at)
    VALUES (:id, 'pacs', '', :study, 'normal', 525000, :transfer, :state, 0, NULL, '', '', 0, 0, :at, :at)"""


@dataclass(frozen=True, slots=True)
class Backlog:
    """Studies of one size, cut into transfers that are all in one state.

    `started` when each was tried before; its deliveries are pending, or delivered where it is done.
    """

    studies: int
    instances: int
    state: str = "ready"
    batch: int = 200
    started: bool = False
    advice: str = ""
    first: int = 0

    def fill(self, url: str) -> None:
        """Write it into the database; the destination pacs must be there."""
        engine = create_engine(database_url(url))
        with engine.begin() as connection:
            for number in range(self.first, self.first + self.studies):
                self._study(connection, number)
        if engine.dialect.name == "postgresql":  # SQLite never does it by itself, a server does
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(text("VACUUM ANALYZE"))
        engine.dispose()

    def _study(self, connection: Connection, number: int) -> None:
        done = self.state == "done"
        study = f"1.2.826.0.1.3680043.8.498.{number}"
        common = {"study": study, "series": f"{study}.1", "at": _NOW + number, "host": HOST}
        connection.execute(text(_STUDY), common)
        connection.execute(text(_SERIES), common)
        ids = [f"{number:08x}{n:024x}" for n in range(self.instances)]
        file = {
            "digest": "d" * 64,
            "nothing": b"",
            "wanted": True,
            "path": f"PATIENT/{study}/1/x.dcm",
            "open": int(not done),
        }
        connection.execute(
            text(_INSTANCE), [{**common, **file, "id": id_, "uid": f"{study}.{id_}"} for id_ in ids]
        )
        transfers = []
        for start in range(0, len(ids), self.batch):
            batch = ids[start : start + self.batch]
            row = {
                **common,
                "transfer": f"{number:08x}{start:024x}",
                "state": self.state,
                "reason": "",
                "due": None,
            }
            row |= {
                "fence": int(self.started or done),
                "instances": len(batch),
                "bytes": 525_000 * len(batch),
            }
            if self.state in ("ready", "waiting", "running"):
                row["due"] = _NOW
            transfers.append((row | {"advice": self.advice}, batch))
        connection.execute(text(_TRANSFER), [row for row, _ in transfers])
        state = "delivered" if done else "pending"
        connection.execute(
            text(_DELIVERY),
            [
                {**common, "id": id_, "transfer": row["transfer"], "state": state}
                for row, batch in transfers
                for id_ in batch
            ],
        )
