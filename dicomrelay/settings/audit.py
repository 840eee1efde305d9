"""The section of the audit (docs/design/audit.md)."""

from __future__ import annotations

from pydantic import Field

from dicomrelay.settings.fields import Port, Section
from dicomrelay.settings.tls import DestinationTlsSettings


class AuditSyslogSettings(Section):
    """The audit repository; the table's presence turns sending on."""

    host: str = Field(
        min_length=1, max_length=253, description="Its address or name; its certificate must name it."
    )
    port: Port = Field(6514, description="Its port for syslog over TLS (RFC 5425).")
    tls: DestinationTlsSettings = Field(
        DestinationTlsSettings(), description="Whom we trust, and our own certificate where it asks for one."
    )
    timeout_s: float = Field(
        10, gt=0, le=300, description="Time for it to connect, and to take what is sent."
    )


class AuditSettings(Section):
    """Who did what, and what went where."""

    enabled: bool = Field(True, description="Keep the trail in audit/ of the home.")
    keep_days: int = Field(
        366,
        ge=1,
        le=36_500,
        description="Segments of the trail that are older are removed, once the repository has them.",
    )
    max_bytes: int = Field(
        4 * 1024**3,
        ge=64 * 1024**2,
        description="What the trail may hold; over it the oldest segments are removed, sent or not.",
    )
    access_window_s: float = Field(
        60,
        ge=1,
        le=3600,
        description="What one user or address looks at in one study over HTTP within so long is one entry.",
    )
    source_id: str | None = Field(
        None,
        min_length=1,
        max_length=128,
        pattern=r"^[!-~]+$",
        description="What the audit messages name as their source. None: gateway.ae_title, @ and the name of this host.",
    )
    site_id: str | None = Field(
        None,
        min_length=1,
        max_length=128,
        pattern=r"^[!-~]+$",
        description="The site of the source, where there are several.",
    )
    syslog: AuditSyslogSettings | None = Field(
        None, description="Where audit messages of DICOM go (PS3.15 Section A.5). None: nowhere."
    )
