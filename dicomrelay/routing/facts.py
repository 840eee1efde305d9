"""What a rule may ask about an instance, or about many of them together."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Facts:
    """An instance as the rules see it; "" where the data set or the association did not say.

    Attributes
    ----------
    data_set_bytes : int
        Size of the data set.
    attributes : mapping
        Tag → values, as texts; no values where it is missing or empty.
    recorded : mapping, optional
        Of a decision that was stored: by the key of a test, whether it held then. `attributes` are then what was stored of
        them, and a tag that is not there was not asked. None: everything that is asked is in `attributes`, or missing.
    """

    modality: str = ""
    source_ae_title: str = ""
    called_ae_title: str = ""
    sop_class_uid: str = ""
    transfer_syntax_uid: str = ""
    peer_address: str = ""
    data_set_bytes: int = 0
    attributes: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    recorded: Mapping[str, bool] | None = None


@dataclass(frozen=True, slots=True)
class Scope:
    """What a rule is asked about: the facts of one instance or of several, and the local time.

    Attributes
    ----------
    minute : int
        Of the local day, 0 to 1439.
    weekday : int
        0 for Monday to 6.
    """

    members: Sequence[Facts]
    minute: int = 0
    weekday: int = 0

    @classmethod
    def at(cls, members: Sequence[Facts], at_ms: int) -> Scope:
        """At a time in epoch milliseconds, which is local time here."""
        local = time.localtime(at_ms / 1000)
        return cls(members, local.tm_hour * 60 + local.tm_min, local.tm_wday)

    @property
    def data_set_bytes(self) -> int:
        """Of all together."""
        return sum(each.data_set_bytes for each in self.members)


class NotRecorded(Exception):
    """A test asks for what was not stored with a decision; `words` say which."""

    def __init__(self, words: str) -> None:
        super().__init__(words)
        self.words = words
