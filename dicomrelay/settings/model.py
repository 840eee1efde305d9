"""All settings together, and what must agree between the sections."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from dicomrelay.settings import sections
from dicomrelay.settings.archive import ArchiveSettings
from dicomrelay.settings.destinations import DestinationSettings
from dicomrelay.settings.retrieve import CommitmentSettings, RetrieveSettings

DEFAULT_HOME: Final = Path("var")


class Settings(BaseSettings):
    """All of it."""

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, env_prefix="DICOMRELAY_", env_nested_delimiter="__", case_sensitive=False
    )

    home: Path = Field(DEFAULT_HOME, description="Where spool, archive, database, logs and sockets are.")
    gateway: sections.GatewaySettings = sections.GatewaySettings()
    broker: sections.BrokerSettings = sections.BrokerSettings()
    database: sections.DatabaseSettings = sections.DatabaseSettings()
    study: sections.StudySettings = sections.StudySettings()
    worker: sections.WorkerSettings = sections.WorkerSettings()
    send: sections.SendSettings = sections.SendSettings()
    retention: sections.RetentionSettings = sections.RetentionSettings()
    archive: ArchiveSettings = ArchiveSettings()
    streamer: sections.StreamerSettings = sections.StreamerSettings()
    monitor: sections.MonitorSettings = sections.MonitorSettings()
    query: sections.QuerySettings = sections.QuerySettings()
    retrieve: RetrieveSettings = RetrieveSettings()
    commitment: CommitmentSettings = CommitmentSettings()
    peers: list[sections.PeerSettings] = Field(
        [], description="Who may call; none: any AE title from loopback, nobody from elsewhere."
    )
    destinations: list[DestinationSettings] = Field([], description="Where instances can go.")
    rules: list[sections.RuleSettings] = Field(
        [], description="Which instances go where; none: all go everywhere."
    )

    @model_validator(mode="after")
    def _names_agree(self) -> Settings:
        names = [destination.name for destination in self.destinations]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"destinations: the name {min(twice)!r} stands twice")
        self._ports_differ()
        self._peers_can_show()
        self._identities_can_be_checked()
        for number, peer in enumerate(self.peers):
            if peer.count_at is not None and "@" not in peer.count_at and peer.count_at not in names:
                raise ValueError(
                    f"peers.{number}.count_at: there is no destination {peer.count_at!r}; known: "
                    f"{', '.join(names) or 'none'}; else write AET@host:port"
                )
        for number, rule in enumerate(self.rules):
            for name in rule.send_to:
                if name not in names:
                    raise ValueError(
                        f"rules.{number}.send_to: there is no destination {name!r}; known: {', '.join(names) or 'none'}"
                    )
        return self

    def _ports_differ(self) -> None:
        taken: dict[int, str] = {}
        for section in ("gateway", "streamer", "monitor"):
            port = getattr(self, section).port
            if port in taken:
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

    @property
    def archive_path(self) -> Path:
        """Where the archive is."""
        return self.archive.path or self.path("archive")
