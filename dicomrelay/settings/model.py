"""All settings together, and what must agree between the sections."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from dicomrelay.settings import sections
from dicomrelay.settings.alerts import AlertSettings
from dicomrelay.settings.archive import ArchiveSettings
from dicomrelay.settings.audit import AuditSettings
from dicomrelay.settings.destinations import DestinationSettings, TransferSyntaxPolicy, VerificationMethod
from dicomrelay.settings.dicomweb import DestinationProtocol
from dicomrelay.settings.edits import EditSettings
from dicomrelay.settings.metrics import MetricsSettings
from dicomrelay.settings.performed import PerformedStepSettings
from dicomrelay.settings.pulls import PullSettings
from dicomrelay.settings.renditions import RenditionSettings
from dicomrelay.settings.retrieve import CommitmentSettings, RetrieveSettings
from dicomrelay.settings.rules import RuleChangeSettings, RuleSettings
from dicomrelay.settings.services import BrokerSettings, DatabaseSettings
from dicomrelay.settings.streamer import StreamerSettings
from dicomrelay.settings.traces import TraceSettings
from dicomrelay.settings.users import AccountSettings, check_names
from dicomrelay.settings.worklist import WorklistSettings

DEFAULT_HOME: Final = Path("var")


class Settings(BaseSettings):
    """All of it."""

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, env_prefix="DICOMRELAY_", env_nested_delimiter="__", case_sensitive=False
    )

    home: Path = Field(DEFAULT_HOME, description="Where spool, archive, database, logs and sockets are.")
    gateway: sections.GatewaySettings = sections.GatewaySettings()
    broker: BrokerSettings = BrokerSettings()
    database: DatabaseSettings = DatabaseSettings()
    study: sections.StudySettings = sections.StudySettings()
    worker: sections.WorkerSettings = sections.WorkerSettings()
    send: sections.SendSettings = sections.SendSettings()
    retention: sections.RetentionSettings = sections.RetentionSettings()
    archive: ArchiveSettings = ArchiveSettings()
    streamer: StreamerSettings = StreamerSettings()
    renditions: RenditionSettings = RenditionSettings()
    monitor: sections.MonitorSettings = sections.MonitorSettings()
    metrics: MetricsSettings = MetricsSettings()
    alerts: AlertSettings = AlertSettings()
    traces: TraceSettings = TraceSettings()
    query: sections.QuerySettings = sections.QuerySettings()
    retrieve: RetrieveSettings = RetrieveSettings()
    commitment: CommitmentSettings = CommitmentSettings()
    worklist: WorklistSettings = WorklistSettings()
    performed_procedure_steps: PerformedStepSettings = PerformedStepSettings()
    peers: list[sections.PeerSettings] = Field(
        [], description="Who may call; none: any AE title from loopback, nobody from elsewhere."
    )
    destinations: list[DestinationSettings] = Field([], description="Where instances can go.")
    edits: list[EditSettings] = Field(
        [], description="What is changed in copies, where a destination or a rule says so."
    )
    rules: list[RuleSettings] = Field([], description="Which instances go where; none: all go everywhere.")

    rules_file: Path | None = Field(
        None,
        description="A file with [[rules]] and nothing else, in place of those here: it is read again when it changes, and "
        "refused when it has none. A relative one is taken from the home.",
    )
    rule_changes: RuleChangeSettings = RuleChangeSettings()

    pulls: list[PullSettings] = Field(
        [], description="What is fetched from other nodes; `dicomrelay pull` fetches more."
    )

    audit: AuditSettings = AuditSettings()
    users: list[AccountSettings] = Field(
        [],
        max_length=10_000,
        description="Who may use the streamer's HTTP and Flower; `dicomrelay users` keeps others in users_file.",
    )
    users_file: Path | None = Field(
        None,
        description="The file that `dicomrelay users` keeps users in; None: users.json in the home. A relative one is taken from "
        "the home.",
    )

    @model_validator(mode="after")
    def _names_agree(self) -> Settings:
        check_names(self.users)
        names = [destination.name for destination in self.destinations]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"destinations: the name {min(twice)!r} stands twice")
        self._ports_differ()
        self._edits_agree()
        self._pulls_agree(names)
        self._peers_can_show()
        self._identities_can_be_checked()
        web = {each.name for each in self.destinations if each.kind is DestinationProtocol.DICOMWEB}
        for number, peer in enumerate(self.peers):
            if peer.count_at in web:
                raise ValueError(
                    f"peers.{number}.count_at: {peer.count_at!r} is a DICOMweb destination, which no C-FIND reaches"
                )
            if peer.count_at is not None and "@" not in peer.count_at and peer.count_at not in names:
                raise ValueError(
                    f"peers.{number}.count_at: there is no destination {peer.count_at!r}; known: "
                    f"{', '.join(names) or 'none'}; else write AET@host:port"
                )
        if self.rules_file is not None and self.rules:
            raise ValueError("rules_file: there are [[rules]] here too: have them in one place")
        for number, rule in enumerate(self.rules):
            for name in rule.send_to:
                if name not in names:
                    raise ValueError(
                        f"rules.{number}.send_to: there is no destination {name!r}; known: {', '.join(names) or 'none'}"
                    )
        return self

    def _edits_agree(self) -> None:
        profiles = {profile.name: profile for profile in self.edits}
        if len(profiles) < len(self.edits):
            names = [profile.name for profile in self.edits]
            raise ValueError(
                f"edits: the name {next(each for each in names if names.count(each) > 1)!r} stands twice"
            )
        asked = {each.name for each in self.destinations if each.verification is not VerificationMethod.NONE}
        never = TransferSyntaxPolicy.NEVER
        as_they_are = {each.name for each in self.destinations if each.transfer_syntax_policy is never}
        wanted: list[tuple[str, str | None, tuple[str, ...]]] = [
            (f"destinations.{number}.edits", destination.edits, (destination.name,))
            for number, destination in enumerate(self.destinations)
        ]
        wanted += [
            (f"rules.{number}.edits", rule.edits, tuple(rule.send_to))
            for number, rule in enumerate(self.rules)
        ]
        for where, name, destinations in wanted:
            if name is not None and name not in profiles:
                raise ValueError(
                    f"{where}: there is no profile {name!r} in [[edits]]; known: {', '.join(profiles) or 'none'}"
                )
            kept = as_they_are.intersection(destinations)
            if name is not None and kept:
                raise ValueError(
                    f'{where}: transfer_syntax_policy = "never" of {min(kept)!r} forbids any change'
                )
            both = asked.intersection(destinations)
            if name is not None and profiles[name].maps_uids and both:
                raise ValueError(
                    f"{where}: {name!r} gives copies other UIDs, and {min(both)!r} is verified after sending: it would be asked "
                    'for UIDs that it never saw. Set verification = "none" there, or the option retain_uids'
                )

    def _pulls_agree(self, destinations: list[str]) -> None:
        names = [pull.name for pull in self.pulls]
        web = {each.name for each in self.destinations if each.kind is DestinationProtocol.DICOMWEB}
        for number, pull in enumerate(self.pulls):
            if pull.source in web:
                raise ValueError(
                    f"pulls.{number}.source: {pull.source!r} is a DICOMweb destination, which no C-FIND reaches"
                )
            if names.count(pull.name) > 1:
                raise ValueError(f"pulls.{number}.name: {pull.name!r} stands twice")
            if pull.name in destinations:
                raise ValueError(
                    f"pulls.{number}.name: {pull.name!r} is a destination: `dicomrelay pull start` takes both"
                )
            if "@" not in pull.source and pull.source not in destinations:
                raise ValueError(
                    f"pulls.{number}.source: there is no destination {pull.source!r}; known: "
                    f"{', '.join(destinations) or 'none'}; else write AET@host:port"
                )

    def flower_stays_shut(self) -> str:
        """Why Flower may not listen where it should; "" when it may. No fault of settings: the first user is made with them."""
        monitor = self.monitor
        asks = monitor.user is not None or bool(self.users) or self.users_path.exists()
        if asks or sections.is_loopback(monitor.host):
            return ""
        return (
            f"monitor.host {monitor.host} is not loopback: make a user first (`dicomrelay users add`), or set user and "
            "password in [monitor]: Flower shows where all studies go"
        )

    def _ports_differ(self) -> None:
        taken: dict[int, str] = {}
        for section in ("gateway", "streamer", "monitor", "metrics"):
            port = getattr(self, section).port
            if port and port in taken:
                raise ValueError(f"{taken[port]}.port and {section}.port are both {port}: each needs its own")
            taken[port] = section

    def _peers_can_show(self) -> None:
        """What [[peers]] demand of TLS can be had from the listener."""
        tls = self.gateway.tls
        for number, peer in enumerate(self.peers):
            if (peer.tls or peer.certificate) and tls is None:
                raise ValueError(
                    f"peers.{number}: demands TLS, and the gateway speaks none: set certificate and key in [gateway.tls]"
                )
            if peer.certificate and (tls is None or tls.ca is None):
                raise ValueError(
                    f"peers.{number}.certificate: clients show no certificate without gateway.tls.ca: set it to the file of "
                    "their authority"
                )

    def _identities_can_be_checked(self) -> None:
        for number, peer in enumerate(self.peers):
            if peer.identity_required and self.gateway.identity is None:
                raise ValueError(
                    f"peers.{number}.identity_required: nothing says who may call: set users or token in [gateway.identity]"
                )

    def path(self, *parts: str) -> Path:
        """A path in the home."""
        return self.home.joinpath(*parts)

    def with_rules(self, rules: Sequence[RuleSettings]) -> Settings:
        """These settings with other rules.

        Raises
        ------
        ValueError
            They do not go with the rest; its message begins with the key.
        """
        other = self.model_copy(update={"rules": [*rules], "rules_file": None})
        other._edits_agree()  # noqa: SLF001 - of our own class
        return other

    @property
    def rules_path(self) -> Path | None:
        """The file that the rules are in, where they are in one of their own."""
        return None if self.rules_file is None else self.home / self.rules_file.expanduser()

    @property
    def users_path(self) -> Path:
        """The file that `dicomrelay users` keeps."""
        return self.home / (self.users_file or Path("users.json")).expanduser()

    @property
    def archive_path(self) -> Path:
        """Where the archive is."""
        return self.archive.path or self.path("archive")

    @property
    def renditions_path(self) -> Path:
        """Where renditions are kept."""
        return self.renditions.path or self.path("renditions")
