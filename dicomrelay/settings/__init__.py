"""Settings: options of the command line, then the environment (`DICOMRELAY_*`, nested with `__`), then `relay.toml`.

Built once, at the composition root of each service, by `load`; no other module reads the environment. Every key is
described in docs/reference/settings.md, and a test holds the two together.
"""

from dicomrelay.settings.archive import ArchiveSettings
from dicomrelay.settings.destinations import (
    DestinationSettings,
    TransferSyntaxPolicy,
    VerificationMethod,
)
from dicomrelay.settings.identity import (
    DestinationIdentitySettings,
    GatewayIdentitySettings,
    TokenSettings,
    UserSettings,
)
from dicomrelay.settings.load import load
from dicomrelay.settings.model import Settings
from dicomrelay.settings.sections import (
    BrokerSettings,
    DatabaseSettings,
    GatewaySettings,
    MonitorSettings,
    PeerSettings,
    QuerySettings,
    RetentionSettings,
    RuleCondition,
    RuleSettings,
    SendSettings,
    StreamerSettings,
    StudySettings,
    WorkerSettings,
    is_loopback,
)
from dicomrelay.settings.tls import DestinationTlsSettings, TlsSettings

__all__ = [
    "ArchiveSettings",
    "BrokerSettings",
    "DatabaseSettings",
    "DestinationIdentitySettings",
    "DestinationSettings",
    "DestinationTlsSettings",
    "GatewayIdentitySettings",
    "GatewaySettings",
    "MonitorSettings",
    "PeerSettings",
    "QuerySettings",
    "RetentionSettings",
    "RuleCondition",
    "RuleSettings",
    "SendSettings",
    "Settings",
    "StreamerSettings",
    "StudySettings",
    "TlsSettings",
    "TokenSettings",
    "TransferSyntaxPolicy",
    "UserSettings",
    "VerificationMethod",
    "WorkerSettings",
    "is_loopback",
    "load",
]
