"""What each role may: a table."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from dicomrelay.settings.users import Role


class Action(StrEnum):
    """What somebody wants to do."""

    VIEW = "view"
    STORE = "store"
    SCHEDULE = "schedule"
    RETRY = "retry"
    HOLD = "hold"
    RELEASE = "release"
    CANCEL = "cancel"
    REPLAY = "replay"
    MANAGE_USERS = "manage_users"
    READ_AUDIT = "read_audit"


_VIEWER: Final = frozenset({Action.VIEW})
_OPERATOR: Final = _VIEWER | {
    Action.STORE,
    Action.SCHEDULE,
    Action.RETRY,
    Action.HOLD,
    Action.RELEASE,
    Action.CANCEL,
    Action.REPLAY,
}
_ADMIN: Final = _OPERATOR | {Action.MANAGE_USERS, Action.READ_AUDIT}
_MAY: Final = {Role.VIEWER: _VIEWER, Role.OPERATOR: _OPERATOR, Role.ADMIN: _ADMIN}


def may(role: Role | None, action: Action) -> bool:
    """Whether somebody of that role may do that; None, who is nobody, may nothing."""
    return role is not None and action in _MAY[role]
