"""What each role may."""

from __future__ import annotations

from dicomrelay.access import Action, Role, may


def test_nobody_may_nothing() -> None:
    """A door that asks nobody says itself what that is."""
    assert not [action for action in Action if may(None, action)]


def test_each_role_may_what_the_one_before_it_may() -> None:
    """And something more."""
    rights = [{action for action in Action if may(role, action)} for role in Role]
    assert rights[0] < rights[1] < rights[2]
    assert rights[0] == {Action.VIEW}
    assert rights[2] == set(Action), "an action that nobody may is a mistake"


def test_only_an_admin_makes_users_and_reads_the_audit() -> None:
    """An operator could else become anybody."""
    for action in (Action.MANAGE_USERS, Action.READ_AUDIT):
        assert [role for role in Role if may(role, action)] == [Role.ADMIN]
