"""An authority for tests, and what it issues, in files as the settings name them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme

from dicomrelay.settings import DestinationTlsSettings, TlsSettings


@dataclass(frozen=True)
class Pair:
    """A certificate and its key."""

    certificate: Path
    key: Path


class Authority:
    """Issues certificates into a folder."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self._folder = folder
        self._ca = trustme.CA(organization_name=f"Test {name}")
        self.path = folder / f"{name}.pem"
        self._ca.cert_pem.write_to_path(self.path)

    def issue(
        self,
        name: str,
        *identities: str,
        days: float = 365,
        common_name: str | None = None,
        key_type: trustme.KeyType = trustme.KeyType.ECDSA,
    ) -> Pair:
        """`name`.pem and `name`.key, valid for `days` from now on; of loopback when nothing is said."""
        end = datetime.now(UTC) + timedelta(days=days)
        leaf = self._ca.issue_cert(
            *(identities or ("127.0.0.1", "localhost")),
            common_name=common_name,
            not_before=end - timedelta(days=400),
            not_after=end,
            key_type=key_type,
        )
        pair = Pair(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        pair.certificate.write_bytes(b"".join(each.bytes() for each in leaf.cert_chain_pems))
        leaf.private_key_pem.write_to_path(pair.key)
        return pair

    def acceptor(self, pair: Pair, *, mutual: bool = False, **more: object) -> TlsSettings:
        """[gateway.tls] with that pair."""
        ca = self.path if mutual else None
        return TlsSettings.model_validate(
            {"certificate": pair.certificate, "key": pair.key, "ca": ca, **more}
        )

    def requestor(self, pair: Pair | None = None, **more: object) -> DestinationTlsSettings:
        """`tls` of a destination that trusts this authority, with that pair."""
        own = {"certificate": pair.certificate, "key": pair.key} if pair else {}
        return DestinationTlsSettings.model_validate({"ca": self.path, **own, **more})
