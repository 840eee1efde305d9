"""The errors of the house, one tree.

```
RelayError(exit_code, retryable)
  ConfigurationError            a setting, an option or an argument
  ProtocolError                 abstract; `section` names the clause of the standard
    LocalProtocolError          we asked for something illegal
    RemoteProtocolError         the peer did; carries the abort source and reason we answer with
      PeerSpeaksTls             a TLS record came where a PDU should be
  AssociationError
    AssociationRejected         A-ASSOCIATE-RJ: result, source, reason
    AssociationAborted          A-ABORT: source, reason; or the connection was lost
    PeerBrokeProtocol           the peer broke PS3.7 or PS3.8, and we aborted; `section` names the clause
    AssociationTimeout          a deadline passed; `timer` names it
    NoAcceptedContext           the peer accepted none of what we need
    PeerUnreachable             no TCP connection
    IdentityNotConfirmed        the peer was to confirm the user identity, and did not
    TlsFailed                   no TLS connection; `fault` says what is wrong
    HttpRefused                 a web service answered a request as a whole with an error; `status`
  DataSetError
    MalformedDataSet            offset, in bytes from the start of the data set
    MissingAttribute            keyword and tag
    NotDicom                    the file is something else
    NotTranscodable             no copy in another transfer syntax without loss, or within the limits
      NotEditable               no copy by a profile of [[edits]]
  SpoolError
    SpoolFull                   below the low-water mark
    SpoolCorrupt                an item whose record or bytes do not agree
  LedgerError
  ArchiveError
    InstanceNotFound
    ConflictingInstance         same SOP Instance UID, other bytes
    IntegrityMismatch           expected, actual digest
  ArchiveIndexError             the database of the archive's index refused a statement
    ArchiveIndexDamaged         its file is damaged
  FrameError
    FrameOutOfRange             number, count
    FramesNotAddressable        why the stored file has no single frames
  AuditError                    what happens cannot be recorded, or what was recorded cannot be read
  ServiceError
    ServiceUnavailable          broker, database or a peer service does not answer
    PortInUse
```

The message is one sentence that names the file or the peer, the field and what to do; facts are attributes.
This module knows no other module of ours.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum


class ExitCode(IntEnum):
    """Exit codes of every command (docs/reference/exit-codes.md)."""

    OK = 0
    SOME_FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    INTEGRITY = 4
    INTERRUPTED = 130
    OUTPUT_CLOSED = 141


class RelayError(Exception):
    """Anything that we raise on purpose."""

    exit_code: ExitCode = ExitCode.SOME_FAILED
    retryable: bool = False


class ConfigurationError(RelayError):
    """A setting, an option or an argument is wrong; the message names it."""

    exit_code = ExitCode.USAGE


class ProtocolError(RelayError):
    """Somebody broke PS3.7 or PS3.8; `section` names the clause."""

    def __init__(self, message: str, *, section: str = "") -> None:
        super().__init__(f"{message} ({section})" if section else message)
        self.section = section


class LocalProtocolError(ProtocolError):
    """We asked for something that the standard does not allow in this state."""


class RemoteProtocolError(ProtocolError):
    """The peer sent something that the standard does not allow.

    Parameters
    ----------
    abort_reason : int
        The reason of the A-ABORT (source 2, service provider) that answers it, 0 to 6 (PS3.8 Table 9-26).
    """

    def __init__(self, message: str, *, section: str = "", abort_reason: int = 0) -> None:
        super().__init__(message, section=section)
        self.abort_reason = abort_reason


class PeerSpeaksTls(RemoteProtocolError):
    """A TLS record came where a PDU should be: the peer speaks TLS, we do not."""


class AssociationError(RelayError):
    """An association could not be made, or did not live."""

    exit_code = ExitCode.UNREACHABLE
    retryable = True


class AssociationRejected(AssociationError):
    """The peer answered A-ASSOCIATE-RJ (PS3.8 Section 9.3.4).

    Parameters
    ----------
    result, source, reason : int
        As in PS3.8 Table 9-21. Result 2 (transient) is worth another try, result 1 (permanent) is not.
    """

    def __init__(self, message: str, *, result: int, source: int, reason: int) -> None:
        super().__init__(message)
        self.result = result
        self.source = source
        self.reason = reason
        self.retryable = result == 2


class AssociationAborted(AssociationError):
    """The peer sent A-ABORT or A-P-ABORT, or the connection was lost (source and reason are then None)."""

    def __init__(self, message: str, *, source: int | None = None, reason: int | None = None) -> None:
        super().__init__(message)
        self.source = source
        self.reason = reason


class PeerBrokeProtocol(AssociationError):
    """The peer sent what the standard does not allow, and we answered A-ABORT: what a `RemoteProtocolError` is to a caller.

    Parameters
    ----------
    section : str
        The clause, when one is known.
    abort_reason : int
        The reason of our A-ABORT (source 2, PS3.8 Table 9-26).
    """

    def __init__(self, message: str, *, section: str = "", abort_reason: int = 0) -> None:
        super().__init__(message)
        self.section = section
        self.abort_reason = abort_reason


class AssociationTimeout(AssociationError):
    """A deadline passed; `timer` names which one."""

    def __init__(self, message: str, *, timer: str) -> None:
        super().__init__(message)
        self.timer = timer


class NoAcceptedContext(AssociationError):
    """The peer accepted no presentation context for what is to be sent."""

    retryable = False


class PeerUnreachable(AssociationError):
    """No TCP connection to the peer."""


class TlsFault(StrEnum):
    """What stands between two ends that want TLS, or that do not agree about it."""

    PLAIN_PEER = "plain-peer"  # we speak TLS, the peer plain DICOM
    TLS_PEER = "tls-peer"  # the other way round
    EXPIRED = "expired"  # the peer's certificate, or one of its chain
    WRONG_HOST = "wrong-host"
    UNTRUSTED = "untrusted"  # no chain to an authority that we know
    NO_CERTIFICATE = "no-certificate"  # one side wants to see one, the other shows none
    REFUSED = "refused"  # the peer does not take our certificate
    OURS_IS_OVER = "ours-is-over"  # our certificate has expired or was revoked, says the peer
    NOTHING_IN_COMMON = "nothing-in-common"  # no version, or no cipher suite
    PEER_TROUBLE = "peer-trouble"  # the peer is busy, or has a fault of its own
    OTHER = "other"


class TlsFailed(AssociationError):
    """TLS could not be agreed on; `fault` says why. Only a peer's trouble of the moment is worth another try soon."""

    retryable = False

    def __init__(self, message: str, *, fault: TlsFault) -> None:
        super().__init__(message)
        self.fault = fault
        self.retryable = fault is TlsFault.PEER_TROUBLE


class IdentityNotConfirmed(AssociationError):
    """The peer accepted, and gave no positive response to the user identity: it does not check them."""

    retryable = False


class HttpRefused(AssociationError):
    """A web service answered a request as a whole with something else than success.

    Parameters
    ----------
    status : int
        Of HTTP (RFC 9110 Section 15); 0 when it is none.
    retry_after_s : float
        How long it asked to be left alone, 0 or more.
    """

    # Those that say nothing about what was asked: the next time may be another.
    _OF_THE_MOMENT = frozenset({408, 429})

    def __init__(self, message: str, *, status: int = 0, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s
        self.retryable = status in self._OF_THE_MOMENT or (500 <= status <= 599 and status not in (501, 505))


class DataSetError(RelayError):
    """A file or a data set is not what it should be."""


class MalformedDataSet(DataSetError):
    """The bytes are not a data set.

    Parameters
    ----------
    offset : int
        Where, in bytes from the start of the data set.
    """

    def __init__(self, message: str, *, offset: int = 0) -> None:
        super().__init__(message)
        self.offset = offset


class MissingAttribute(DataSetError):
    """A data set lacks an attribute that we cannot do without."""

    def __init__(self, message: str, *, keyword: str) -> None:
        super().__init__(message)
        self.keyword = keyword


class NotDicom(DataSetError):
    """The file is something else, and that is no fault."""


class NotTranscodable(DataSetError):
    """A data set cannot be changed to another transfer syntax without loss, or not within the limits."""


class NotEditable(NotTranscodable):
    """A profile of [[edits]] cannot be applied to a data set, or forbids that it goes out. The message names no value."""


class SpoolError(RelayError):
    """The durable record on disk could not be written or read."""

    retryable = True


class SpoolFull(SpoolError):
    """Free space is under the low-water mark; nothing was written."""


class SpoolCorrupt(SpoolError):
    """An item of the spool whose record or bytes do not agree."""

    exit_code = ExitCode.INTEGRITY
    retryable = False


class LedgerError(RelayError):
    """The ledger refused what was asked of it."""


class ArchiveError(RelayError):
    """The archive refused what was asked of it."""


class InstanceNotFound(ArchiveError):
    """No such study, series or instance in the archive."""


class ConflictingInstance(ArchiveError):
    """The archive holds other bytes under the same SOP Instance UID."""

    exit_code = ExitCode.INTEGRITY


class IntegrityMismatch(ArchiveError):
    """A file's digest is not the recorded one."""

    exit_code = ExitCode.INTEGRITY

    def __init__(self, message: str, *, expected: str, actual: str) -> None:
        super().__init__(message)
        self.expected = expected
        self.actual = actual


class ArchiveIndexError(RelayError):
    """The database of the archive's index refused a statement."""


class ArchiveIndexDamaged(ArchiveIndexError):
    """The file of the archive's index is damaged; the stored files are what it can be made anew from."""

    exit_code = ExitCode.INTEGRITY


class FrameError(RelayError):
    """A frame cannot be served."""


class FrameOutOfRange(FrameError):
    """The frame number is not in 1 to the number of frames."""

    def __init__(self, message: str, *, number: int, count: int) -> None:
        super().__init__(message)
        self.number = number
        self.count = count


class FrameIndexDamaged(FrameError):
    """The frame index is not what was written; it can be made again from the stored file."""


class FramesNotAddressable(FrameError):
    """The stored file has no single frames (no pixel data, or one video stream)."""


class AuditError(RelayError):
    """The trail of the audit cannot be written or read; the message names its folder."""


class BackupDamaged(RelayError):
    """A backup is not whole, not sound, or of a newer version; the message names its file."""

    exit_code = ExitCode.INTEGRITY


class ServiceError(RelayError):
    """A part of the system, or one it needs, does not work."""

    exit_code = ExitCode.UNREACHABLE


class ServiceUnavailable(ServiceError):
    """Broker, database or a service does not answer."""

    retryable = True


class PortInUse(ServiceError):
    """Another program listens on the port."""
