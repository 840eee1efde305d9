"""The sections of the settings, one frozen class each; names, ranges and descriptions are the reference page's."""

from __future__ import annotations

import ipaddress
from typing import Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from dicomrelay.settings.fields import AeTitle, Pattern, PeerText, Port, Section, UidPattern
from dicomrelay.settings.identity import GatewayIdentitySettings
from dicomrelay.settings.tls import HttpTlsSettings, TlsSettings


def is_loopback(host: str) -> bool:
    """Whether an address, or the name localhost, stays on this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class GatewaySettings(Section):
    """The listener."""

    ae_title: AeTitle = Field("DICOMRELAY", description="Our AE title: what a peer must call.")
    host: str = Field("127.0.0.1", description="Address to listen on. Another than loopback wants [[peers]].")
    port: Port = Field(11112, description="TCP port to listen on.")
    check_called_ae_title: bool = Field(
        False, description="Refuse associations that call another AE title than ours."
    )
    processes: int = Field(1, ge=1, le=64, description="Listener processes that share the port.")
    max_associations: int = Field(
        200,
        ge=1,
        le=10_000,
        description="Associations at once in one listener process; more are told to try later (A-ASSOCIATE-RJ, transient).",
    )
    max_associations_per_peer: int = Field(
        50, ge=1, le=10_000, description="Associations at once from one address, in one listener process."
    )
    reserved_associations: int | None = Field(
        None,
        ge=0,
        le=9_999,
        description="How many of max_associations only peers whose address [[peers]] names may use, so that strangers "
        "cannot crowd them out; none: a tenth.",
    )
    max_pdu_bytes: int = Field(
        262_144,
        ge=16_384,
        le=16_777_216,
        description="Maximum length of a P-DATA-TF PDU that we receive; a longer one aborts the association.",
    )
    association_timeout_s: float = Field(
        30, gt=0, description="Time for a peer to ask for an association once connected (the ARTIM timer)."
    )
    pdu_timeout_s: float = Field(60, gt=0, description="Time for a PDU to arrive whole once it has begun.")
    idle_timeout_s: float = Field(
        300, gt=0, description="Time an association may stay silent between messages."
    )
    min_free_bytes: int = Field(
        1_000_000_000,
        ge=0,
        description="Low-water mark of the spool's disk: under it every instance is answered A700, out of resources.",
    )
    max_spool_bytes: int | None = Field(
        None,
        ge=1,
        description="What the spool may hold in all; over it every instance is answered A700. None: as much as the disk "
        "has above min_free_bytes.",
    )
    accept_unknown_sop_classes: bool = Field(
        False, description="Accept private and unknown SOP classes as if they were storage SOP classes."
    )
    private_sop_classes: list[UidPattern] = Field(
        [],
        max_length=256,
        description="Private SOP classes to accept as storage SOP classes: UIDs, or patterns such as 1.3.46.670589.* "
        "with * and ? as wildcards.",
    )
    max_outstanding: int = Field(
        32,
        ge=1,
        le=64,
        description="Operations that a peer may have outstanding on one association, when it asks for more than one.",
    )
    identity: GatewayIdentitySettings | None = Field(
        None, description="User identity of those who call; the table's presence turns the check on."
    )
    tls: TlsSettings | None = Field(None, description="TLS; the table's presence turns it on.")

    @model_validator(mode="after")
    def _room_for_strangers(self) -> GatewaySettings:
        if self.reserved_room >= self.max_associations:
            raise ValueError(
                f"reserved_associations ({self.reserved_room}) must be less than max_associations "
                f"({self.max_associations})"
            )
        return self

    @property
    def reserved_room(self) -> int:
        """Associations that are kept for peers we know."""
        reserved = self.reserved_associations
        return self.max_associations // 10 if reserved is None else reserved


class StudySettings(Section):
    """When a study is complete."""

    quiet_seconds: float = Field(
        5, ge=0, le=86_400, description="A study with nothing new for so long is complete."
    )
    quiet_after_association_seconds: float = Field(
        0.3,
        ge=0,
        le=86_400,
        description="The same, once every association that brought something of it has ended. "
        "Only ever makes the time shorter.",
    )
    send: Literal["as_it_arrives", "complete"] = Field(
        "as_it_arrives",
        description='"as_it_arrives" lets full batches of a study go before it is complete; "complete" lets nothing.',
    )


class WorkerSettings(Section):
    """The Celery workers."""

    intake_processes: int = Field(2, ge=1, le=64, description="Processes for grouping and maintenance.")
    keep_processes: int = Field(
        2,
        ge=1,
        le=64,
        description="Processes for archiving and frames, which stand back where there is too little CPU for all.",
    )
    forward_processes: int = Field(
        2, ge=1, le=64, description="Processes for forwarding, as many as there are cores to spare for it."
    )
    forward_transfers: int = Field(
        32, ge=1, le=256, description="Transfers at once in each process for forwarding: its threads."
    )
    batch_instances: int = Field(200, ge=1, le=10_000, description="Instances that one task takes at most.")
    batch_bytes: int = Field(
        1_000_000_000, ge=1_000_000, description="Bytes that one transfer holds at most, one instance apart."
    )
    sweep_seconds: float = Field(2, gt=0, le=300, description="How often the sweeper wakes up what is due.")


class RetentionSettings(Section):
    """How long what is over is kept. What somebody still has to get is kept as long as that takes."""

    spool_days: float = Field(
        0, ge=0, le=3650, description="A spool item stays at least so long, also once everybody has it."
    )
    transfer_days: float = Field(
        90,
        ge=1,
        le=36_500,
        description="Transfers that are done or cancelled, with their deliveries, jobs that are over, and decisions of rules.",
    )
    event_days: float = Field(30, ge=1, le=36_500, description="Events.")
    evidence_days: float = Field(
        730,
        ge=1,
        le=36_500,
        description="Evidence, from the last row of a study; never less than transfer_days.",
    )
    log_bytes: int = Field(
        50_000_000,
        ge=100_000,
        description="A log file of a service that is larger is put away as <name>.log.1.",
    )
    log_files: int = Field(3, ge=1, le=100, description="How many of those are kept for each service.")

    @property
    def spool_ms(self) -> int:
        """How long a spool item stays at least, in milliseconds."""
        return round(self.spool_days * 86_400_000)

    @model_validator(mode="after")
    def _evidence_outlives(self) -> RetentionSettings:
        if self.evidence_days < self.transfer_days:
            raise ValueError(
                f"evidence_days ({self.evidence_days:g}) must not be less than transfer_days ({self.transfer_days:g})"
            )
        return self


class SendSettings(Section):
    """`dicomrelay send`."""

    files: Literal["copy", "reference"] = Field(
        "copy",
        description='"copy" takes the bytes into the spool, so that the files may go once submitted; '
        '"reference" reads them where they lie.',
    )


class MonitorSettings(Section):
    """Flower."""

    enabled: bool = Field(True, description="Start Flower with `dicomrelay up`.")
    host: str = Field(
        "127.0.0.1", description="Address to listen on: loopback, unless there are users that it asks for."
    )
    port: Port = Field(5555, description="TCP port to listen on.")
    user: str | None = Field(None, pattern=r"^[^:\s]+$", description="User for HTTP basic authentication.")
    password: SecretStr | None = Field(None, description="Password for HTTP basic authentication.")
    tls: HttpTlsSettings | None = Field(None, description="TLS; the table's presence turns it on.")

    @model_validator(mode="after")
    def _safe(self) -> MonitorSettings:
        if (self.user is None) != (self.password is None):
            raise ValueError("user and password go together: set both or none")
        return self


class QuerySettings(Section):
    """C-FIND as SCP: what the archive is asked."""

    max_answers: int = Field(
        10_000,
        ge=1,
        le=1_000_000,
        description="Answers to one C-FIND; when more match these are given, and then A700, out of resources.",
    )
    timeout_s: float = Field(
        120, gt=0, le=3600, description="Time for one C-FIND; over it A700, out of resources."
    )
    max_files: int = Field(
        1000,
        ge=0,
        le=100_000,
        description="Stored instances that one C-FIND may look into, for keys that the index has not; over it A700.",
    )
    relational: Literal["negotiated", "always"] = Field(
        "negotiated",
        description='Queries that leave out the unique keys of the levels above: "negotiated" takes them when the peer has '
        'agreed on relational queries with us, as the standard has it; "always" takes them of anybody.',
    )
    fuzzy_names: Literal["never", "negotiated", "always"] = Field(
        "negotiated",
        description="Person names by likeness: when the peer has agreed on fuzzy matching with us, never, or always.",
    )


class PeerSettings(Section):
    """Who may call."""

    ae_title: str = Field(
        "*", min_length=1, max_length=16, description="Calling AE title; * and ? are wildcards."
    )
    host: str = Field("*", description="Address or network (10.0.0.0/24) the peer calls from; * for any.")
    rights: list[Literal["store", "query", "move", "get", "commitment", "worklist", "mpps"]] = Field(
        ["store"],
        description="What it may do here: C-STORE, C-FIND, C-MOVE, C-GET, ask for storage commitment, ask for the "
        "worklist, and tell of performed procedure steps. C-ECHO is for all.",
    )
    worklist_ae_titles: list[Pattern] | None = Field(
        None,
        description="Of the worklist it sees only steps whose Scheduled Station AE Title is one of these; * and ? are "
        "wildcards. None: all, or as worklist.own_only has it.",
    )
    port: Port | None = Field(
        None,
        description="Where it listens for our reports of storage commitment: an entry with one AE title, without wildcards, and "
        "with one address as `host`. None: there is none, unless it is one of [[destinations]].",
    )
    max_associations: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="Associations at once that this entry admits, in one listener process; none for no limit of its own.",
    )
    transfer_syntaxes: list[str] | None = Field(
        None,
        min_length=1,
        description="Transfer syntaxes that are accepted, in our order of preference: UIDs, or names such as "
        '"explicit-little-endian" (`dicomrelay transfer-syntaxes` lists them). None: all, in the peer\'s order.',
    )
    quiet_seconds: float | None = Field(
        None,
        ge=0,
        le=86_400,
        description="What it sends is complete with nothing new for so long; none: study.quiet_seconds.",
    )
    count_at: PeerText | None = Field(
        None,
        description="Whom to ask how many instances a study has that it sends (C-FIND, Number of Study Related Instances), "
        "as AET@host:port or by the name of a destination: mostly the peer itself. None: nobody.",
    )
    max_spool_bytes: int | None = Field(
        None,
        ge=1,
        description="What this entry's peers may have in the spool; over it they are answered A700, out of resources, until "
        "some of it has gone on. None: no limit of its own.",
    )
    identity_required: bool | None = Field(
        None,
        description="Reject the peer when it shows no user identity; none: as gateway.identity.required.",
    )
    tls: bool = Field(False, description="The peer must come under TLS.")
    certificate: str | None = Field(
        None,
        min_length=1,
        max_length=1024,
        description="The peer must show a certificate with this SHA-256 fingerprint (64 hexadecimal digits), this subject "
        "(what has a =: `CN=CT 1,O=Clinic`), or else with this common name, DNS name or address; * and ? are wildcards. "
        "Each is compared with its own kind only. Implies `tls`.",
    )

    @field_validator("host")
    @classmethod
    def _network(cls, value: str) -> str:
        if value != "*":
            try:
                ipaddress.ip_network(value, strict=False)
            except ValueError:
                raise ValueError(
                    f"{value!r} is no IP address, no network such as 10.0.0.0/24, and not *"
                ) from None
        return value
