"""The door without a network: tokens, passwords, origins, rates, for HTTP and WebSockets."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from dicomrelay.errors import ConfigurationError
from dicomrelay.net.identity import PasscodeHash
from dicomrelay.settings import StreamerAccessSettings, StreamerSettings
from streamer.answers import Message, Receive, Scope, Send, send_whole
from streamer.audited import CALLER
from streamer.credentials import Credentials
from streamer.door import FOREIGN, guarded
from streamer.rates import Rate

TOKEN = "0123456789abcdef"
Fields = Sequence[tuple[bytes, bytes]]
Answer = tuple[int, dict[bytes, bytes], bytes]


async def shown(scope: Scope, receive: Receive, send: Send) -> None:
    """Who came in."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept", "subprotocol": ",".join(scope["subprotocols"])})
    else:
        await send_whole(send, 200, b"text/plain", scope.get(CALLER, "").encode())


def door(**settings: object) -> Door:
    return Door(StreamerSettings.model_validate(settings))


class Door:
    """The door in front of `shown`, asked again and again in one loop."""

    def __init__(self, settings: StreamerSettings) -> None:
        self.app = guarded(shown, settings)

    def sent(self, scope: Scope) -> list[Message]:
        """The messages of one answer."""
        found: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request"}

        async def send(message: Message) -> None:
            found.append(message)

        asyncio.run(self.app({"client": ("10.0.0.1", 1), "path": "/studies", **scope}, receive, send))
        return found

    def ask(self, *fields: tuple[bytes, bytes], method: str = "GET", **scope: object) -> Answer:
        """Status, fields and body of one answer."""
        start, body = self.sent({"type": "http", "method": method, "headers": [*fields], **scope})
        return start["status"], dict(start["headers"]), body["body"]

    def socket(self, *fields: tuple[bytes, bytes], protocols: Sequence[str] = ()) -> Message:
        """The first message to a WebSocket."""
        scope = {"type": "websocket", "headers": [*fields], "subprotocols": [*protocols]}
        return self.sent(scope)[0]


def bearer(token: str) -> tuple[bytes, bytes]:
    return b"authorization", f"Bearer {token}".encode()


def basic(name: str, password: str) -> tuple[bytes, bytes]:
    return b"authorization", b"Basic " + base64.b64encode(f"{name}:{password}".encode())


def test_without_access_everybody_comes_in() -> None:
    """As nobody in particular."""
    assert door().ask()[::2] == (200, b"")


def test_a_token_and_a_password_come_in() -> None:
    """By name; also in UTF-8."""
    door_ = door(access={"token": TOKEN, "user": "zoë", "password": "grün"})

    assert door_.ask(bearer(TOKEN))[::2] == (200, b"token")
    assert door_.ask(basic("zoë", "grün"))[::2] == (200, "user zoë".encode())
    assert door_.ask(basic("zoë", "grün"))[0] == 200, "from memory"


@pytest.mark.parametrize(
    "fields",
    [
        (),
        (bearer("x" * 16),),
        (bearer(TOKEN + "0"),),
        (bearer(""),),
        (basic("zoe", "wrong"),),
        (basic("nobody", "right"),),
        (basic("zoe", ""),),
        ((b"authorization", b"Basic !!!"),),
        ((b"authorization", b"Basic " + base64.b64encode(b"\xff\xfe")),),
        ((b"authorization", b"Digest x"),),
        ((b"authorization", b"Bearer " + b"x" * 100_000),),
        (bearer(TOKEN), bearer(TOKEN)),
    ],
)
def test_nobody_else_does(fields: Fields) -> None:
    """401 as a problem document that says how to ask, and nothing of what was shown."""
    status, headers, body = door(access={"token": TOKEN, "user": "zoe", "password": "right"}).ask(*fields)

    assert (status, headers[b"content-type"]) == (401, b"application/problem+json")
    assert headers[b"www-authenticate"] == (
        b'Basic realm="dicomrelay", charset="UTF-8", Bearer realm="dicomrelay"'
    )
    assert json.loads(body)["title"] == "Unauthorized"
    assert not [value for _, value in fields if value.split()[-1][:40] in body]


def test_health_is_open() -> None:
    """What a container's check can reach."""
    assert door(access={"token": TOKEN}).ask(path="/health")[0] == 200


def test_guessing_comes_to_an_end() -> None:
    """429 with the time to wait, for the right password too; another address is not touched, nor who shows nothing."""
    guessed = door(access={"token": TOKEN, "user": "zoe", "password": "right", "max_failures": 3})
    assert guessed.ask(basic("zoe", "right"))[0] == 200
    for _ in range(5):
        assert guessed.ask()[0] == 401
    for _ in range(3):
        assert guessed.ask(bearer("x" * 16))[0] == 401

    status, headers, _ = guessed.ask(basic("zoe", "right"))

    assert status == 429
    assert 0 < int(headers[b"retry-after"]) <= 60
    assert guessed.ask(bearer("y" * 16))[0] == 429
    assert guessed.ask(basic("zoe", "right"), client=("10.0.0.2", 1))[0] == 200


def test_who_knows_a_token_is_not_locked_out_by_who_guesses() -> None:
    """Behind one proxy they have one address. A token is too long to be found by trying."""
    guessed = door(access={"token": TOKEN, "max_failures": 3})
    for _ in range(9):
        guessed.ask(bearer("x" * 16))

    assert guessed.ask(bearer("x" * 16))[0] == 429
    assert guessed.ask(bearer(TOKEN))[::2] == (200, b"token")
    assert guessed.socket(protocols=[f"dicomrelay.bearer.{TOKEN}"])["type"] == "websocket.accept"


def test_guesses_that_come_at_once_are_counted_before_they_cost() -> None:
    """Thirty wrong passwords together: about three are looked at, the others get 429 without a scrypt of their own."""
    guessed = door(access={"user": "zoe", "password": "right", "max_failures": 3})
    statuses: list[int] = []

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    async def all_at_once() -> None:
        scopes = [
            {"type": "http", "method": "GET", "path": "/studies", "client": ("10.0.0.1", 1)}
            | {"headers": [basic("zoe", f"wrong {number}")]}
            for number in range(30)
        ]
        await asyncio.gather(*(guessed.app(scope, receive, send) for scope in scopes))

    asyncio.run(all_at_once())

    assert 3 <= statuses.count(401) <= 5
    assert statuses.count(429) == 30 - statuses.count(401)


def test_a_browsers_websocket_shows_its_token_as_a_subprotocol() -> None:
    """The route does not see it; a wrong one is refused in place of the handshake."""
    door_ = door(access={"token": TOKEN})

    accepted = door_.socket(protocols=["frames.v1", f"dicomrelay.bearer.{TOKEN}"])

    assert accepted == {"type": "websocket.accept", "subprotocol": "frames.v1"}
    assert door_.socket(bearer(TOKEN))["type"] == "websocket.accept"
    assert door_.socket()["type"] == "websocket.close"
    assert door_.socket(protocols=["dicomrelay.bearer.x"])["code"] == 1008


def test_files_are_read_again_when_they_change(tmp_path: Path) -> None:
    """A token that is taken out of its file lets nobody in a second later; a file that is broken lets in nobody by it."""
    tokens, users = tmp_path / "tokens", tmp_path / "users"
    tokens.write_text(f"# of the viewer\n\n{TOKEN}\n")
    users.write_text(f"zoe:{PasscodeHash.of('right')}\n")
    now = [0.0]
    credentials = Credentials(
        StreamerAccessSettings(tokens_file=tokens, users_file=users), clock=lambda: now[0]
    )
    field = b"Bearer " + TOKEN.encode()

    assert credentials.known(field) == "token 1"
    assert credentials.checked(basic("zoe", "right")[1]) == "user zoe"
    assert credentials.known(basic("zoe", "right")[1]) == "user zoe"
    tokens.write_text("another-token-of-16\n")
    assert credentials.known(field) == "token 1"
    now[0] = 2
    assert credentials.known(field) is None
    assert credentials.known(b"Bearer another-token-of-16") == "token 1"
    users.write_text("")
    now[0] = 4
    assert credentials.known(basic("zoe", "right")[1]) is None
    assert credentials.checked(basic("zoe", "right")[1]) is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("short\n", "token 1 is none"),
        ("", "holds nobody"),
        ("# nothing\n", "holds nobody"),
        (f"{TOKEN}\n{TOKEN} two\n", "token 2 is none"),
        ("\xff" * 16, "token 1 is none"),
    ],
)
def test_a_tokens_file_that_makes_no_sense_is_said_at_the_start(
    tmp_path: Path, content: str, words: str
) -> None:
    """With the file and the line, and without the token."""
    path = tmp_path / "tokens"
    path.write_text(content)

    with pytest.raises(ConfigurationError, match=words) as refused:
        Credentials(StreamerAccessSettings(tokens_file=path))

    assert str(path) in str(refused.value)
    assert "short" not in str(refused.value)


@pytest.mark.parametrize("line", ["zoe", "zoe:secret", ":scrypt$", "a:b:scrypt$1$1$1$$"])
def test_a_users_file_that_makes_no_sense_is_said_at_the_start(tmp_path: Path, line: str) -> None:
    """Without the password that somebody put there in place of its hash."""
    path = tmp_path / "users"
    path.write_text(line)

    with pytest.raises(ConfigurationError, match="user 1") as refused:
        Credentials(StreamerAccessSettings(users_file=path))

    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "access",
    [{}, {"user": "x"}, {"password": "x"}, {"user": "x", "password": ""}, {"token": "short"}, {"user": "a:b", "password": "x"}],
)  # fmt: skip
def test_access_that_lets_nobody_in_is_refused(access: dict[str, str]) -> None:
    """In the settings already."""
    with pytest.raises(ValueError, match="access"):
        door(access=access)


def test_pages_of_listed_origins_read_and_others_do_not() -> None:
    """CORS off by default; with a list, by name, and never with the browser's own credentials."""
    origin, other = (b"origin", b"https://viewer.example"), (b"origin", b"https://evil.example")
    listed = door(cors_origins=["https://viewer.example"])

    headers = listed.ask(origin)[1]

    assert headers[b"access-control-allow-origin"] == b"https://viewer.example"
    assert b"ETag" in headers[b"access-control-expose-headers"]
    assert b"access-control-allow-credentials" not in headers
    assert b"access-control-allow-origin" not in listed.ask(other)[1]
    assert b"access-control-allow-origin" not in door().ask(origin)[1]
    assert b"access-control-allow-origin" in door(cors_origins=["*"]).ask(other)[1]


def test_a_preflight_needs_no_token() -> None:
    """Browsers send none with it; what it allows is what there is."""
    fields = ((b"origin", b"https://viewer.example"), (b"access-control-request-method", b"POST"))
    listed = door(cors_origins=["https://viewer.example"], access={"token": TOKEN})

    start = listed.sent({"type": "http", "method": "OPTIONS", "headers": [*fields]})[0]

    assert start["status"] == 204
    assert b"Authorization" in dict(start["headers"])[b"access-control-allow-headers"]
    other = ((b"origin", b"https://evil.example"), fields[1])
    assert listed.ask(*other, method="OPTIONS")[0] == 403


@pytest.mark.parametrize(
    "origin",
    [b"https://evil.example", b"null", b"http://relay.local:81", b"http://[", b"http://[::1", b"", b"relay.local:80",
     b"://", b"http://x@relay.local:80", b"http://relay.local:80/", b"\xff"],
)  # fmt: skip
def test_pages_of_other_sites_change_nothing(origin: bytes) -> None:
    """A form or a WebSocket of theirs would go out with what the browser knows (no CORS there); ours and no page at all may."""
    host = (b"host", b"relay.local:80")
    for settings in ({}, {"cors_origins": ["https://viewer.example"]}):
        asked = door(**settings)
        assert asked.ask(host, (b"origin", origin), method="POST")[0] == 403
        assert asked.socket(host, (b"origin", origin))["type"] == "websocket.close"
        assert asked.ask(host, (b"origin", origin))[0] == 200
        assert asked.ask(host, (b"origin", b"http://relay.local:80"), method="POST")[0] == 200
        assert asked.ask(host, method="POST")[0] == 200
        assert asked.socket(host, (b"origin", b"http://relay.local:80"))["type"] == "websocket.accept"


@pytest.mark.parametrize(
    ("origin", "is_foreign"),
    [(b"https://viewer.example", True), (b"http://relay.local", False), (b"http://[", True)],
)
def test_pages_of_other_sites_are_known_as_such_where_they_are_let_in(
    origin: bytes, is_foreign: bool
) -> None:
    """What they may read they may not change; routes that store look at this."""
    scope = {"type": "http", "method": "POST", "headers": [(b"host", b"relay.local"), (b"origin", origin)]}
    seen: list[object] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope.get(FOREIGN))
        await shown(scope, receive, send)

    let_in = Door(StreamerSettings(cors_origins=["*"]))
    let_in.app = guarded(app, StreamerSettings(cors_origins=["*"]))
    let_in.sent(scope)

    assert seen == [is_foreign]


def test_pages_of_the_public_address_are_ours() -> None:
    """Behind a proxy the Host field has another name."""
    public = door(public_url="https://Images.example/dicom")

    fields = ((b"host", b"127.0.0.1:8080"), (b"origin", b"https://images.example"))

    assert public.ask(*fields, method="POST")[0] == 200
    assert b"access-control-allow-origin" not in public.ask(*fields)[1]
    assert public.ask(fields[0], (b"origin", b"https://images.example:444"), method="POST")[0] == 403


@pytest.mark.parametrize("origin", ["viewer.example", "https://viewer.example/", "HTTPS://x", "ftp://x", ""])
def test_an_origin_that_is_none_is_refused_in_the_settings(origin: str) -> None:
    """With words on how it is written."""
    with pytest.raises(ValueError, match="no origin"):
        door(cors_origins=[origin])


def test_a_rate_holds_back_one_address() -> None:
    """As many at once as in a second, then 429; others are not touched."""
    rated = door(requests_per_s=2)

    statuses = [rated.ask()[0] for _ in range(4)]

    assert statuses == [200, 200, 429, 429]
    assert int(rated.ask()[1][b"retry-after"]) == 1
    assert rated.ask(client=("10.0.0.2", 1))[0] == 200


def test_a_bucket_fills_as_time_goes_by_and_addresses_are_forgotten() -> None:
    """Never over its size, and never more than 4096 of them."""
    now = [0.0]
    rate = Rate(2, 4, clock=lambda: now[0])
    for _ in range(4):
        assert rate.wait_s("a") == 0
        rate.take("a")

    assert rate.wait_s("a") == pytest.approx(0.5)
    now[0] = 0.5
    assert rate.wait_s("a") == 0
    now[0] = 1000
    for _ in range(4):
        rate.take("a")
    assert rate.wait_s("a") > 0
    for number in range(5000):
        rate.take(str(number))
    assert rate.wait_s("a") == 0
