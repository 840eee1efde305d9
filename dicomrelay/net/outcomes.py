"""What an answer of a peer, or an error on the way to it, means for a delivery: one table (docs/design/outcomes.md).

`TABLE` is the data, `judge` the only way in. Statuses stand in `dicom.status`, beside their codes.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from dicomrelay import errors
from dicomrelay.dicom.status import Outcome, status_name, status_row
from dicomrelay.errors import (
    AssociationAborted,
    AssociationRejected,
    AssociationTimeout,
    HttpRefused,
    RelayError,
    TlsFailed,
    TlsFault,
)
from dicomrelay.net.http_statuses import HTTP_OTHERS, HTTP_STATUSES
from dicomrelay.net.service import StoreReply
from dicomrelay.net.tls_faults import ADVICE as TLS_ADVICE
from dicomrelay.net.tls_faults import WORDS as TLS_WORDS
from dicomrelay.ul.reasons import ABORT_REASONS, REJECT_REASONS


@dataclass(frozen=True, slots=True)
class Verdict:
    """One row of the table, for one answer or error.

    Attributes
    ----------
    outcome : Outcome
        RETRY is worth another try with nothing changed; REFUSED needs the attention of a person.
    name : str
        Words for people; never anything that the peer said, so it may be logged.
    advice : str
        What to do next, one line; empty where there is nothing to do.
    status : int or None
        The DIMSE status, 0 to 0xFFFF, when the peer answered one.
    """

    outcome: Outcome
    name: str
    advice: str
    status: int | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """What a fault that is no status means; `fault` says which, in the words of the page."""

    fault: str
    outcome: Outcome
    name: str
    advice: str

    @property
    def verdict(self) -> Verdict:
        """As `judge` answers it."""
        return Verdict(self.outcome, self.name, self.advice)


_RETRY: Final = Outcome.RETRY
_REFUSED: Final = Outcome.REFUSED
_BY_ITSELF: Final = "Nothing now, it is tried again by itself; "
_REPORT: Final = "Peer and relay disagree about the protocol: report it with the logs of both ends."

# ---- A-ASSOCIATE-RJ (PS3.8 Table 9-21)

_REJECT_ADVICE: Final[Mapping[tuple[int, int], str]] = {
    (1, 1): "Let the peer's administrator allow our AE title and address, or look into its log.",
    (1, 2): "The peer speaks something else than DICOM's application context: is it the right port?",
    (
        1,
        3,
    ): "Let the peer's administrator enter our AE title and address, or set calling_ae_title to one it knows.",
    (1, 7): "Correct the destination's ae_title: the peer does not go by that name.",
    (2, 1): "The peer's log says why.",
    (2, 2): _REPORT,
    (3, 1): _BY_ITSELF + "if it lasts, the peer is too busy.",
    (3, 2): _BY_ITSELF + "if it lasts, give the destination fewer associations or the peer more.",
}
_RESULT_WORDS: Final = {1: (_REFUSED, "rejected for good"), 2: (_RETRY, "rejected for now")}


def _rejections() -> Iterator[tuple[tuple[int, int, int], Row]]:
    for result, (outcome, words) in _RESULT_WORDS.items():
        for (source, reason), why in REJECT_REASONS.items():
            key = (result, source, reason)
            advice = _REJECT_ADVICE[source, reason]
            if outcome is _REFUSED and source == 3:  # for good, for a reason of the moment
                advice = "The peer is too busy and says it will stay so: give it more associations, or ask its administrator."
            yield key, Row(f"A-ASSOCIATE-RJ {result}, {source}, {reason}", outcome, f"{words}: {why}", advice)


REJECTIONS: Final = dict(_rejections())
# What Table 9-21 reserves or does not have.
REJECTIONS_UNKNOWN: Final = {
    1: Row("A-ASSOCIATE-RJ 1, any other source or reason", _REFUSED, "rejected for good: unknown reason",
           "The standard does not know the reason: the peer's log may say more."),
    2: Row("A-ASSOCIATE-RJ 2, any other source or reason", _RETRY, "rejected for now: unknown reason",
           _BY_ITSELF + "if it lasts, the peer's log may say more."),
    0: Row("A-ASSOCIATE-RJ with any other result", _REFUSED, "rejected: unknown result",
           "The standard does not know the result, so it counts as for good: the peer's log may say more."),
}  # fmt: skip

# ---- A-ABORT (PS3.8 Table 9-26); a lost connection has no source

ABORTS: Final = {
    (2, int(reason)): Row(
        f"A-ABORT 2, {int(reason)}",
        _RETRY,
        f"aborted by the service provider: {words}",
        _BY_ITSELF + ("if it lasts, the peer's log says why." if reason == 0 else "if it lasts: " + _REPORT),
    )
    for reason, words in ABORT_REASONS.items()
}
ABORTED_BY_USER: Final = Row(
    "A-ABORT 0, any reason",
    _RETRY,
    "aborted by the service user",
    _BY_ITSELF + "if it lasts, the peer's log says what it met.",
)
ABORTED_UNKNOWN: Final = Row(
    "A-ABORT with any other source or reason", _RETRY, "aborted: unknown reason", _BY_ITSELF + "if it lasts: " + _REPORT
)  # fmt: skip
CONNECTION_LOST: Final = Row(
    "connection lost",
    _RETRY,
    "the connection was lost",
    _BY_ITSELF + "if it lasts, the peer went down or a firewall cuts connections.",
)

# ---- deadlines, by timer

TIMEOUTS: Final = {
    "association": Row("timeout: association", _RETRY, "no answer to the association request",
                       _BY_ITSELF + "if it lasts, the peer hangs, or what listens there is not DICOM, or wants TLS."),
    "response": Row("timeout: response", _RETRY, "no response to what was sent",
                    _BY_ITSELF + "if the peer is only slow, raise the destination's response_timeout_s."),
    "PDU": Row("timeout: PDU", _RETRY, "a PDU was not taken, or not sent to its end, in time",
               _BY_ITSELF + "if it lasts, the network between is too slow or loses packets."),
}  # fmt: skip
TIMEOUT_UNKNOWN: Final = Row(
    "timeout: any other", _RETRY, "a deadline passed", _BY_ITSELF + "if it lasts, the peer's log says why."
)

# ---- TLS

TLS_FAULTS: Final = {
    fault: Row(
        f"TLS: {fault.value}",
        _RETRY if fault is TlsFault.PEER_TROUBLE else _REFUSED,
        TLS_WORDS[fault],
        f"{advice[0].upper()}{advice[1:]}.",
    )
    for fault, advice in TLS_ADVICE.items()
}

# ---- HTTP statuses of a whole request

HTTP: Final = {
    status: Row(f"HTTP {status}", outcome, f"HTTP {status}: {words}", advice)
    for status, (outcome, words, advice) in HTTP_STATUSES.items()
}
# By the hundreds; 0 for all that is none.
HTTP_UNKNOWN: Final = {
    hundred: Row(f"HTTP {fault}", outcome, words, advice)
    for hundred, (fault, outcome, words, advice) in HTTP_OTHERS.items()
}

# ---- everything else, by class: the nearest class upwards that has a row

_OURS: Final = "A fault of our own: report it with the log."
_DAMAGED: Final = "Look at the disk; send the instance again from where it came from."
_NO_FILE: Final = "The file itself is at fault: mend it where it was made and send that."

FAULTS: Final[Mapping[type[RelayError], Row]] = {
    errors.PeerUnreachable: Row("no connection", _RETRY, "no connection to the peer",
                                _BY_ITSELF + "if it lasts, check host, port and firewall."),
    errors.NoAcceptedContext: Row("no accepted presentation context", _REFUSED, "the peer accepts no such object",
                                  "Let the peer's administrator enable SOP class and transfer syntax, or route it elsewhere."),
    errors.IdentityNotConfirmed: Row("user identity not confirmed", _REFUSED, "the peer does not check user identity",
                                     "Let the peer's administrator turn the check on, or take identity.confirm away."),
    errors.AssociationError: Row("any other end of an association", _RETRY, "the association failed",
                                 _BY_ITSELF + "if it lasts, the log says why."),
    errors.PeerBrokeProtocol: Row("protocol error of the peer", _RETRY, "the peer broke the protocol",
                                  _BY_ITSELF + "if it lasts: " + _REPORT),
    errors.LocalProtocolError: Row("protocol error of our own", _REFUSED, "not allowed by the protocol", _OURS),
    errors.ConfigurationError: Row("settings", _REFUSED, "wrong settings", "Correct the setting that is named."),
    errors.NotDicom: Row("local file: not DICOM", _REFUSED, "no DICOM file", "Nothing: it is something else."),
    errors.DataSetError: Row("local file: data set", _REFUSED, "the data set is not what it should be", _NO_FILE),
    errors.SpoolCorrupt: Row("local file: other bytes than recorded", _REFUSED, "the bytes are damaged or gone", _DAMAGED),
    errors.SpoolError: Row("spool", _RETRY, "the spool cannot be read now",
                           _BY_ITSELF + "if it lasts, look at disk, mounts and permissions."),
    errors.IntegrityMismatch: Row("archive: other bytes than recorded", _REFUSED, "the bytes are damaged", _DAMAGED),
    errors.InstanceNotFound: Row("archive: not there", _REFUSED, "no such instance in the archive", _DAMAGED),
    errors.ArchiveError: Row("archive", _REFUSED, "the archive refused", "The log says why."),
    errors.ServiceUnavailable: Row("a service of ours", _RETRY, "a service does not answer",
                                   _BY_ITSELF + "if it lasts, look whether broker and database run."),
    RelayError: Row("any other error of the house", _REFUSED, "a fault on our side", _OURS),
}  # fmt: skip

_LATER: Final = _BY_ITSELF + "if it lasts, "
FILE_FAULTS: Final = {
    errno.ENOENT: Row("local file: ENOENT", _RETRY, "the file is not there",
                      _LATER + "bring it back or mount its disk."),
    errno.EACCES: Row("local file: EACCES", _RETRY, "the file may not be read", _LATER + "give us the permission to read it."),
    errno.EPERM: Row("local file: EPERM", _RETRY, "the file may not be read", _LATER + "give us the permission to read it."),
    errno.EIO: Row("local file: EIO", _RETRY, "the disk cannot read the file", _LATER + "look at the disk and its backups."),
    errno.ESTALE: Row("local file: ESTALE", _RETRY, "the network file system lost the file", _LATER + "mount it anew."),
    errno.EMFILE: Row("local file: EMFILE", _RETRY, "too many open files", _LATER + "raise the limit of open files."),
    errno.ENFILE: Row("local file: ENFILE", _RETRY, "too many open files", _LATER + "raise the machine's limit of open files."),
    errno.ENOSPC: Row("local file: ENOSPC", _RETRY, "no space on the disk", _LATER + "make room."),
}  # fmt: skip
FILE_FAULT_UNKNOWN: Final = Row(
    "local file: any other", _RETRY, "the file cannot be read now", _LATER + "look at disk, mounts and permissions."
)  # fmt: skip

# Every row beside the statuses, in the order of the page.
TABLE: Final = (
    *REJECTIONS.values(),
    *REJECTIONS_UNKNOWN.values(),
    ABORTED_BY_USER,
    *ABORTS.values(),
    ABORTED_UNKNOWN,
    CONNECTION_LOST,
    *TIMEOUTS.values(),
    TIMEOUT_UNKNOWN,
    *TLS_FAULTS.values(),
    *HTTP.values(),
    *HTTP_UNKNOWN.values(),
    *FAULTS.values(),
    *FILE_FAULTS.values(),
    FILE_FAULT_UNKNOWN,
)


def judge(answer: StoreReply | RelayError | OSError) -> Verdict:
    """What an answer of the peer, or whatever came in its place, means.

    Parameters
    ----------
    answer : StoreReply, RelayError or OSError
        A response to C-STORE; an error of the house; an error of a local file.
    """
    if isinstance(answer, StoreReply):
        row = status_row(answer.status)
        return Verdict(row.outcome, status_name(answer.status), row.advice, answer.status)
    return _row(answer).verdict


def _row(error: RelayError | OSError) -> Row:
    if isinstance(error, OSError):
        return FILE_FAULTS.get(error.errno or 0, FILE_FAULT_UNKNOWN)
    if isinstance(error, AssociationRejected):
        unknown = REJECTIONS_UNKNOWN[error.result if error.result in _RESULT_WORDS else 0]
        return REJECTIONS.get((error.result, error.source, error.reason), unknown)
    if isinstance(error, AssociationAborted):
        return _abort_row(error)
    if isinstance(error, AssociationTimeout):
        return TIMEOUTS.get(error.timer, TIMEOUT_UNKNOWN)
    if isinstance(error, TlsFailed):
        return TLS_FAULTS.get(error.fault, TLS_FAULTS[TlsFault.OTHER])
    if isinstance(error, HttpRefused):
        return http_row(error.status)
    return next(FAULTS[kind] for kind in type(error).__mro__ if kind in FAULTS)


def http_row(status: int) -> Row:
    """The row of an HTTP status that is no success."""
    unknown = 0 if status == 505 else status // 100
    return HTTP.get(status) or HTTP_UNKNOWN.get(unknown, HTTP_UNKNOWN[0])


def _abort_row(error: AssociationAborted) -> Row:
    if error.source is None:
        return CONNECTION_LOST
    if error.source == 0:  # the reason is not significant (PS3.8 Section 9.3.8)
        return ABORTED_BY_USER
    return ABORTS.get((error.source, -1 if error.reason is None else error.reason), ABORTED_UNKNOWN)
