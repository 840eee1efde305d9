"""What the pages are built upon: settings, what is read, what was said, and the audit."""

from __future__ import annotations

from dataclasses import dataclass, field

from dicomrelay.access import Action, User
from dicomrelay.audit import Audit, Entry, Kind, Outcome, Party
from dicomrelay.settings import Settings
from monitor.looks import Looks
from monitor.said import Said


@dataclass(frozen=True, slots=True)
class House:
    """One for a process."""

    settings: Settings
    looks: Looks
    audit: Audit
    said: Said = field(default_factory=Said)

    @classmethod
    def of(cls, settings: Settings) -> House:
        """With all that is needed; connections are made when first used."""
        return cls(settings, Looks(settings), Audit(settings))

    # ---- at the door

    def came_in(self, user: User, address: str) -> None:
        """By a password that was right; told once for all requests of a time."""
        if user.by == "password":
            who = Party(user.name, address, role=user.role.value)
            self.audit.note_once(("login", user.name, address), lambda: Entry(Kind.LOGIN, "password", who))

    def not_let_in(self, name: str, address: str) -> None:
        """By a password or token that is nobody's; "" where it was a token."""
        what = "password" if name else "token"
        words = "nobody has this name and password" if name else "nobody has this token"
        who = Party(name or "unknown", address)
        self.audit.note(Entry(Kind.LOGIN, what, who, outcome=Outcome.MINOR, words=words))

    def may_not(self, user: User, action: Action, address: str) -> None:
        """It is somebody, who may not do that."""
        who = Party(user.name, address, role=user.role.value)
        words = f"{user.role.value} may not {action.value}"
        self.audit.note(Entry(Kind.REFUSED, action.value, who, outcome=Outcome.SERIOUS, words=words))
