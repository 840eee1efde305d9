"""Settings: options of the command line, then the environment (`DICOMRELAY_*`, nested with `__`), then `relay.toml`.

Built once, at the composition root of each service, by `load`; no other module reads the environment. Every key is
described in docs/reference/settings.md, and a test holds the two together.
"""

from dicomrelay.settings.archive import ArchiveSettings
from dicomrelay.settings.audit import AuditSettings, AuditSyslogSettings
from dicomrelay.settings.destinations import (
    DestinationSettings,
    TransferSyntaxPolicy,
    VerificationMethod,
)
from dicomrelay.settings.dicomweb import DestinationProtocol, DicomwebAuthSettings, Duplicates
from dicomrelay.settings.identity import (
    DestinationIdentitySettings,
    GatewayIdentitySettings,
    TokenSettings,
    UserSettings,
)
from dicomrelay.settings.load import load
from dicomrelay.settings.model import Settings
from dicomrelay.settings.pulls import PriorsSettings, PullSettings
from dicomrelay.settings.rules import AttributeTest, RuleCondition, RuleSettings
from dicomrelay.settings.sections import (
    GatewaySettings,
    MonitorSettings,
    PeerSettings,
    QuerySettings,
    RetentionSettings,
    SendSettings,
    StudySettings,
    WorkerSettings,
    is_loopback,
)
from dicomrelay.settings.services import BrokerSettings, DatabaseSettings, ServiceTlsSettings
from dicomrelay.settings.streamer import StreamerAccessSettings, StreamerSettings
from dicomrelay.settings.tls import DestinationTlsSettings, HttpTlsSettings, TlsSettings
from dicomrelay.settings.users import AccountSettings, AccountTokenSettings, Role

__all__ = [
    "AccountSettings",
    "AccountTokenSettings",
    "ArchiveSettings",
    "AttributeTest",
    "AuditSettings",
    "AuditSyslogSettings",
    "BrokerSettings",
    "DatabaseSettings",
    "DestinationIdentitySettings",
    "DestinationProtocol",
    "DestinationSettings",
    "DestinationTlsSettings",
    "DicomwebAuthSettings",
    "Duplicates",
    "GatewayIdentitySettings",
    "GatewaySettings",
    "HttpTlsSettings",
    "MonitorSettings",
    "PeerSettings",
    "PriorsSettings",
    "PullSettings",
    "QuerySettings",
    "RetentionSettings",
    "Role",
    "RuleCondition",
    "RuleSettings",
    "SendSettings",
    "ServiceTlsSettings",
    "Settings",
    "StreamerAccessSettings",
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
