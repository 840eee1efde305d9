"""A transport under TLS: the same socket, the same deadlines, ciphertext on the wire (docs/design/tls.md).

OpenSSL works on memory; this module moves bytes between that memory and the socket. Only the three steps of `Transport`
that touch the socket differ, so whatever holds of a wait there holds here.
"""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast

from dicomrelay.errors import AssociationAborted, AssociationError, TlsFailed, TlsFault
from dicomrelay.net.service import TlsFacts
from dicomrelay.net.tls_faults import ALERT, HANDSHAKE, explain, failed
from dicomrelay.net.transport import Transport
from dicomrelay.text import shown

# Ciphertext of one read: four records of the longest kind.
_READ_BYTES: Final = 65_536
# Plaintext that is encrypted at once.
_CHUNK_BYTES: Final = 1 << 18
_BACKSLASH: Final = "\\"
_SHORT_NAMES: Final = {
    "commonName": "CN",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "stateOrProvinceName": "ST",
    "localityName": "L",
}


class TlsTransport(Transport):
    """A `Transport` under TLS; `handshake` comes first.

    Parameters
    ----------
    plain : Transport
        What was before: its socket, connection and deadlines are taken over.
    context : ssl.SSLContext
        Of net.tls.
    server_hostname : str or None
        Whom we call, for the check of the certificate; None as acceptor.
    peer : str
        The other end, for the words of errors.

    Attributes
    ----------
    facts : TlsFacts or None
        Once the handshake is over.

    Raises
    ------
    TlsFailed
        No certificate can be for that host name.
    """

    def __init__(
        self, plain: Transport, context: ssl.SSLContext, *, server_hostname: str | None, peer: str
    ) -> None:
        super().__init__(plain.sock, plain.connection, plain.waits)
        self.facts: TlsFacts | None = None
        self._peer = peer
        self._is_acceptor = server_hostname is None
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        try:
            self._tls = context.wrap_bio(
                self._incoming,
                self._outgoing,
                server_side=self._is_acceptor,
                # A trailing dot is of the DNS, no certificate has it; and OpenSSL takes no scope of an IPv6 address.
                server_hostname=server_hostname.rstrip(".").partition("%")[0] if server_hostname else None,
            )
        except ValueError as error:
            raise failed(peer, TlsFault.WRONG_HOST, f"no certificate can name {server_hostname!r}") from error
        self._ciphertext = memoryview(bytearray(_READ_BYTES))
        self._unsent = memoryview(b"")  # ciphertext that the socket did not take yet
        self._owed = 0  # bytes of plaintext that are in there, and not yet told of

    # ---- the handshake

    def handshake(self, deadline: float, timer: str) -> TlsFacts:
        """Agree on keys with the peer until `deadline`, and say what was agreed on.

        Raises
        ------
        TlsFailed
            It cannot be; the alert that tells the peer is sent by `close`.
        AssociationTimeout
            The deadline passed (`timer`).
        AssociationAborted
            The connection was lost.
        """
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._send_rest()
                self._receive_handshake(deadline, timer)
            except ssl.SSLError as error:
                raise explain(error, self._peer) from error
            else:
                self._send_rest()
                self.facts = self._facts()
                return self.facts

    def _receive_handshake(self, deadline: float, timer: str) -> None:
        first = self.peek(deadline, timer)
        if first is None:
            may_be = (
                ""
                if self._is_acceptor
                else "; a peer that speaks plain DICOM may do so: check whether it speaks TLS"
            )
            raise AssociationAborted(f"{self._peer} closed the connection during the TLS handshake{may_be}")
        if not self._is_acceptor and first not in {HANDSHAKE, ALERT, 0x14, 0x17}:
            words = "it speaks plain DICOM" if 1 <= first <= 7 else "it speaks no TLS"
            raise failed(self._peer, TlsFault.PLAIN_PEER, words)
        try:
            count = self.sock.recv_into(self._ciphertext)
        except OSError as error:  # reset since: what was looked at may be gone with it
            raise AssociationAborted(
                f"the connection with {self._peer} was lost during the TLS handshake: {error.strerror}"
            ) from error
        self._incoming.write(self._ciphertext[:count])

    def _send_rest(self) -> None:
        """All ciphertext that waits, within the time of a PDU."""
        deadline: float | None = None
        while not self._push():
            deadline = self._patience(deadline)

    def _facts(self) -> TlsFacts:
        cipher = self._tls.cipher()
        shown = self._tls.getpeercert(binary_form=True)
        verified: Mapping[str, Any] = self._tls.getpeercert() or {}
        return TlsFacts(
            version=self._tls.version() or "",
            cipher=cipher[0] if cipher else "",
            certificate_subject=_subject(verified),
            certificate_names=tuple(_names(verified)),
            certificate_sha256=hashlib.sha256(shown).hexdigest() if shown and verified else "",
            certificate_ends_s=ssl.cert_time_to_seconds(verified["notAfter"]) if verified else None,
        )

    # ---- the three steps

    def _read_into(self, space: memoryview) -> int:
        """One read of ciphertext at most, so that the deadlines are looked at however small the pieces are."""
        count = self._decrypt(space)
        if count is None:
            received = self.sock.recv_into(self._ciphertext, 0, self._receive_flags)
            if received == 0:
                return 0
            self._incoming.write(self._ciphertext[:received])
            count = self._decrypt(space)
        if self._outgoing.pending:  # an answer to a new key
            self._push()
        if count is None:
            raise BlockingIOError
        return count

    def _decrypt(self, space: memoryview) -> int | None:
        """Plaintext of what was read; None when OpenSSL wants more, 0 when the peer has closed."""
        count = 0
        try:
            while count < len(space):
                got = cast("int", self._tls.read(len(space) - count, space[count:]))
                if got == 0:
                    break
                count += got
        except ssl.SSLWantReadError:
            return count or None
        except ssl.SSLZeroReturnError:
            return count
        except ssl.SSLError as error:
            if count:
                return count  # it is said again at the next read
            raise self._broken(error) from error
        return count

    def _broken(self, error: ssl.SSLError) -> AssociationError:
        """Before the first PDU it is the peer's word on the handshake; later a connection that broke."""
        if self.connection.pdus_received:
            return AssociationAborted(f"TLS with {self._peer} broke: {error.reason}")
        return explain(error, self._peer)

    def _try_to_send(self, data: bytes | memoryview) -> int:
        """As plain; the same bytes are given again until they are told to be sent."""
        if not self._owed:
            self._encrypt(data[:_CHUNK_BYTES])
        return self._told()

    def _try_to_send_parts(self, parts: Sequence[bytes | memoryview]) -> int:
        """As `_try_to_send`; small pieces share their records."""
        if not self._owed:
            self._encrypt(b"".join(_first(parts, _CHUNK_BYTES)))
        return self._told()

    def _last_bytes(self, output: bytes) -> bytes:
        try:
            if output:
                self._tls.write(output)
            self._tls.unwrap()  # close_notify; the peer's is not waited for
        except ssl.SSLError:
            pass  # no handshake, or a broken one: its alert is what is left to say
        return bytes(self._unsent) + self._outgoing.read()

    # ---- inside

    def _encrypt(self, data: bytes | memoryview) -> None:
        try:
            self._owed = self._tls.write(data)
        except ssl.SSLError as error:
            raise AssociationAborted(f"{self._peer} takes nothing more under TLS: {error.reason}") from error

    def _told(self) -> int:
        if not self._push():
            return 0
        count, self._owed = self._owed, 0
        return count

    def _push(self) -> bool:
        """Give the socket the ciphertext that waits, once; whether all of it has left."""
        if self._outgoing.pending:
            fresh = self._outgoing.read()
            self._unsent = memoryview(bytes(self._unsent) + fresh if self._unsent else fresh)
        if self._unsent:
            try:
                sent = super()._try_to_send(self._unsent)
            except AssociationAborted as error:
                raise self._refusal() or error from error
            self._unsent = self._unsent[sent:]
        return not self._unsent

    def _refusal(self) -> TlsFailed | None:
        """What a peer said that closed while we were sending our first PDU.

        In TLS 1.3 a client learns only then what the server thinks of its certificate.
        """
        if self.connection.pdus_received:
            return None
        try:
            self._incoming.write(self._ciphertext[: self.sock.recv_into(self._ciphertext)])
            self._tls.read(1)
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLError as error:
            return explain(error, self._peer)
        except OSError:
            return None
        return None


def _first(pieces: Sequence[bytes | memoryview], at_most: int) -> Iterator[bytes | memoryview]:
    """The first so many bytes of them."""
    for piece in pieces:
        yield piece[:at_most]
        at_most -= len(piece)
        if at_most <= 0:
            return


def _parts(certificate: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The subject's attributes, most particular first."""
    for relative_name in reversed(certificate.get("subject", ())):
        yield from relative_name


def _subject(certificate: Mapping[str, Any]) -> str:
    """The subject as one writes it: CN=CT 1,O=Clinic. A comma inside a value is escaped (RFC 4514 Section 2.4)."""
    text = ",".join(
        f"{_SHORT_NAMES.get(key, key)}={value.replace(_BACKSLASH, _BACKSLASH * 2).replace(',', _BACKSLASH + ',')}"
        for key, value in _parts(certificate)
    )
    return shown(text)


def _names(certificate: Mapping[str, Any]) -> Iterator[str]:
    """What the certificate's owner goes by: common names, DNS names, addresses."""
    yield from (value for key, value in _parts(certificate) if key == "commonName")
    yield from (
        value for kind, value in certificate.get("subjectAltName", ()) if kind in {"DNS", "IP Address"}
    )
