"""Passwords and tokens, without a file."""

from __future__ import annotations

from datetime import date

import pytest
from pydantic import SecretStr, ValidationError

from dicomrelay.access.users import Users, hash_of_password, hash_of_token, new_token, refusal_of
from dicomrelay.errors import ConfigurationError
from dicomrelay.settings import AccountSettings, AccountTokenSettings, Role
from tests.support.accounts import PASSWORD, cheap_hash, make_hashes_cheap

HASH = SecretStr(cheap_hash())


def token(name: str, text: str, **more: object) -> AccountTokenSettings:
    return AccountTokenSettings.model_validate({"name": name, "hash": hash_of_token(text.encode()), **more})


def account(name: str = "anna", role: Role = Role.OPERATOR, *tokens: AccountTokenSettings) -> AccountSettings:
    return AccountSettings(name=name, role=role, password_hash=HASH, tokens=list(tokens))


def test_the_right_password_comes_in_with_its_role() -> None:
    """Nothing else does, an empty one or a neighbour's name neither."""
    users = Users.of([account()])
    user = users.by_password("anna", PASSWORD.encode())
    assert user is not None
    assert (user.name, user.role, user.by) == ("anna", Role.OPERATOR, "password")
    for name, password in (("anna", b""), ("anna", b"wrong"), ("Anna", PASSWORD.encode()), ("", b"")):
        assert users.by_password(name, password) is None


def test_a_password_is_the_same_however_its_letters_are_composed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keyboards differ: one code point, or two."""
    make_hashes_cheap(monkeypatch)
    hashed = SecretStr(hash_of_password("zoe\u0308 am gro\u00dfen meer"))
    users = Users.of([AccountSettings(name="zoe", role=Role.VIEWER, password_hash=hashed)])
    assert users.by_password("zoe", "zo\u00eb am gro\u00dfen meer".encode()) is not None


def test_who_has_no_password_does_not_come_in_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program has tokens only."""
    make_hashes_cheap(monkeypatch)
    program = AccountSettings(name="ci", role=Role.OPERATOR, tokens=[token("ci", "x" * 43)])
    users = Users.of([program])
    assert users.by_password("ci", b"") is None
    found = users.by_token(b"x" * 43)
    assert found is not None
    assert found.by == "token ci"


def test_a_token_ends_with_its_day() -> None:
    """It is taken on that day, and not on the next."""
    users = Users.of([account("anna", Role.VIEWER, token("ci", "t" * 43, expires="2027-01-31"))])
    assert users.by_token(b"t" * 43, date(2027, 1, 31)) is not None
    assert users.by_token(b"t" * 43, date(2027, 2, 1)) is None
    assert users.by_token(b"t" * 42) is None


def test_the_work_for_a_password_is_what_the_page_says() -> None:
    """N = 2^14, r = 8, p = 5."""
    assert hash_of_password("a password of some length").startswith("scrypt$16384$8$5$")


def test_tokens_differ_and_have_safe_characters() -> None:
    """256 bits each."""
    made = {new_token() for _ in range(100)}
    assert len(made) == 100
    assert all(
        len(each) == 43
        and set(each) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
        for each in made
    )


def test_nothing_secret_is_shown() -> None:
    """In no repr that a log could have."""
    users = Users.of([account("anna", Role.VIEWER, token("ci", "t" * 43))])
    shown = repr(users) + repr(account("anna", Role.VIEWER, token("ci", "t" * 43)))
    assert hash_of_token(b"t" * 43) not in shown
    assert HASH.get_secret_value() not in shown


def test_a_name_stands_once() -> None:
    """In settings and file together."""
    with pytest.raises(ConfigurationError, match="'anna' stands twice"):
        Users.of([account(), account()])


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"name": "a:b", "role": "viewer"}, "name"),
        ({"name": "a b", "role": "viewer"}, "name"),
        ({"name": "", "role": "viewer"}, "name"),
        ({"name": "anna", "role": "root"}, "role"),
        ({"name": "anna", "role": "viewer", "password": "x"}, "password"),
        ({"name": "anna", "role": "viewer", "tokens": [{"name": "x", "hash": "y"}]}, "no hash of a token"),
    ],
)
def test_what_is_no_user_is_refused(wrong: dict[str, object], words: str) -> None:
    """And a password in clear too."""
    with pytest.raises(ValidationError, match=words):
        AccountSettings.model_validate(wrong)


def test_a_hash_that_is_none_is_told_by_the_user_and_not_quoted() -> None:
    """It might be the password."""
    wrong = AccountSettings(name="anna", role=Role.VIEWER, password_hash=SecretStr("hunter2"))
    with pytest.raises(ConfigurationError, match="'anna'") as caught:
        Users.of([wrong])
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("password", "words"),
    [
        ("short", "12 to"),
        ("x" * 20, "four different"),
        ("annamueller1", "is the name"),
        ("a\tb" * 6, "control"),
        ("correct horse battery", ""),
    ],
)
def test_weak_passwords_are_refused_in_words(password: str, words: str) -> None:
    """Length counts, not kinds of characters."""
    assert (
        (words in refusal_of(password, "annamueller")) if words else not refusal_of(password, "annamueller")
    )
