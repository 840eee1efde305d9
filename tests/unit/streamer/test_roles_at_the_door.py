"""The door with users of the house: who is asked, and what each role may."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from dicomrelay.access import Action, Doorkeeper
from dicomrelay.access.users import hash_of_token
from dicomrelay.cli.main import cli
from dicomrelay.settings import AccountSettings, Settings, StreamerSettings
from streamer import writers
from streamer.answers import Message, Receive, Scope, Send, send_whole
from streamer.audited import CALLER
from streamer.deeds import action_of
from streamer.door import guarded
from tests.support.accounts import PASSWORD, cheap_hash

HASH = cheap_hash()
ROLES = ("viewer", "operator", "admin")


async def shown(scope: Scope, _receive: Receive, send: Send) -> None:
    """Who came in."""
    await send_whole(send, 200, b"text/plain", scope.get(CALLER, "").encode())


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Door:
    """In front of `shown`."""

    def __init__(
        self, home: Path, *users: AccountSettings, clock: Clock | None = None, **streamer: Any
    ) -> None:
        settings = Settings(home=home, users=list(users))
        keeper = Doorkeeper(settings, clock=clock or Clock())
        self.app = guarded(shown, StreamerSettings.model_validate(streamer), keeper=keeper)

    def ask(
        self, field: str = "", method: str = "GET", path: str = "/studies"
    ) -> tuple[int, dict[bytes, bytes], bytes]:
        found: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request"}

        async def send(message: Message) -> None:
            found.append(message)

        headers = [(b"authorization", field.encode())] if field else []
        scope = {
            "type": "http",
            "client": ("10.0.0.1", 1),
            "method": method,
            "path": path,
            "headers": headers,
        }
        asyncio.run(self.app(scope, receive, send))
        return found[0]["status"], dict(found[0]["headers"]), found[1]["body"]


def user(role: str) -> AccountSettings:
    token = {"name": "t", "hash": hash_of_token(role.encode() * 9)}
    return AccountSettings.model_validate(
        {"name": role, "role": role, "password_hash": HASH, "tokens": [token]}
    )


def bearer(role: str) -> str:
    return f"Bearer {role * 9}"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/studies", ROLES),
        ("HEAD", "/studies/1.2/series/1.3/instances/1.4/frames/1", ROLES),
        ("GET", "/worklist", ROLES),
        ("POST", "/streams", ROLES),
        ("DELETE", "/streams/abc", ROLES),
        ("POST", "/studies", ROLES[1:]),
        ("POST", "/studies/1.2.3", ROLES[1:]),
        ("POST", "/worklist", ROLES[1:]),
        ("DELETE", "/worklist/00ff", ROLES[1:]),
        ("POST", "/something-new", ROLES[2:]),
        ("PUT", "/", ROLES[2:]),
    ],
)
def test_each_role_does_what_it_may(tmp_path: Path, method: str, path: str, allowed: tuple[str, ...]) -> None:
    """And is told in words what it may not."""
    door = Door(tmp_path, *map(user, ROLES))
    for role in ROLES:
        status, headers, body = door.ask(bearer(role), method, path)
        if role in allowed:
            assert (status, body) == (200, f"user {role}".encode())
        else:
            assert (status, headers[b"content-type"]) == (403, b"application/problem+json")
            assert json.loads(body)["detail"].startswith(f"user {role} is {role}, who may not ")


def test_a_websocket_looks() -> None:
    """It has no method."""
    assert action_of("", "/streams") is Action.VIEW


def test_nobody_comes_in_without(tmp_path: Path) -> None:
    """But for the health of the service; how to ask is said."""
    door = Door(tmp_path, user("viewer"))
    status, headers, _ = door.ask()
    assert (status, headers[b"www-authenticate"]) == (
        401,
        b'Basic realm="dicomrelay", charset="UTF-8", Bearer realm="dicomrelay"',
    )
    assert door.ask(bearer("admin"))[0] == 401
    assert door.ask(path="/health")[0] == 200


def test_a_password_comes_in(tmp_path: Path) -> None:
    """Beside the tokens of [streamer.access], which may what they could before: store too."""
    door = Door(tmp_path, user("viewer"), access={"token": "0123456789abcdef"})
    pair = base64.b64encode(f"viewer:{PASSWORD}".encode()).decode()
    assert door.ask(f"Basic {pair}")[::2] == (200, b"user viewer")
    assert door.ask("Bearer 0123456789abcdef", "POST")[::2] == (200, b"token")


def test_the_first_user_closes_the_door_of_a_streamer_that_runs(tmp_path: Path) -> None:
    """The one who adds it needs nothing else."""
    clock = Clock()
    door = Door(tmp_path, clock=clock)
    assert door.ask(method="POST")[::2] == (200, b"")
    CliRunner().invoke(
        cli,
        ["users", "add", "ci", "--role", "viewer", "--no-password", "--home", str(tmp_path)],
        standalone_mode=False,
    )
    clock.now = 2
    assert door.ask()[0] == 401


def test_guessing_is_held_back(tmp_path: Path) -> None:
    """Ten wrong ones in a minute from one address; a right token comes in all the same."""
    door = Door(tmp_path, user("viewer"))
    assert [door.ask("Basic eDp5")[0] for _ in range(11)] == [401] * 10 + [429]
    assert door.ask(bearer("viewer"))[0] == 200


def test_on_another_address_somebody_must_be_known(tmp_path: Path) -> None:
    """To store: a user of the settings, the users file, or [streamer.access]."""
    streamer = StreamerSettings(host="10.0.0.1")
    assert "users add" in writers.closed(Settings(home=tmp_path, streamer=streamer))
    assert not writers.closed(Settings(home=tmp_path, streamer=streamer, users=[user("viewer")]))
    (tmp_path / "users.json").write_text('{"users": []}')
    assert not writers.closed(Settings(home=tmp_path, streamer=streamer))
