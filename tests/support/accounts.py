"""Passwords whose hashes cost nothing: the work of scrypt has a test of its own."""

from __future__ import annotations

import os

import pytest

from dicomrelay.access import users
from dicomrelay.net import identity
from dicomrelay.net.identity import PasscodeHash

PASSWORD = "correct horse battery"


def cheap_hash(password: str = PASSWORD) -> str:
    """What `password_hash` takes, with two rounds in place of 16,384."""
    salt = os.urandom(16)
    bare = PasscodeHash(2, 1, 1, salt, b"")
    return str(PasscodeHash(2, 1, 1, salt, bare._derive(password.encode())))


def make_hashes_cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that the product makes, too, and what a name costs that nobody has."""
    monkeypatch.setattr(identity, "_COST", 2)
    monkeypatch.setattr(users, "_NOBODYS", PasscodeHash(2, 1, 1, b"\0" * 16, b"\0" * 32))
