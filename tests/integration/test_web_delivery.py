"""Instances to a scripted DICOMweb service: batches, every status, every fault, credentials."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from dicomrelay.dicom.part10 import HEAD_BYTES, parse_file_meta
from dicomrelay.errors import (
    AssociationAborted,
    AssociationError,
    AssociationTimeout,
    ConfigurationError,
    HttpRefused,
    PeerBrokeProtocol,
    PeerUnreachable,
    TlsFailed,
    TlsFault,
)
from dicomrelay.net.tls import acceptor_context, requestor_context
from dicomrelay.runtime.ports import free_ports
from dicomrelay.settings import DicomwebAuthSettings, Duplicates
from dicomrelay.web.access_tokens import AccessTokens
from tests.support.certificates import Authority
from tests.support.web_sending import instances, run, target
from tests.support.web_service import Action, Asked, Reply, json_reply, stored, takes_all, web_service


def test_batches_by_count_carry_the_bytes_that_arrived(tmp_path: Path) -> None:
    """Three requests for five instances; each answer names its request, and nothing of our spool goes out."""
    found = instances(tmp_path, 5, size=1000)
    with web_service() as service:
        told = run(found, target(service.port, batch_instances=2, parallel_requests=1))

    assert told.error is None
    assert [asked.uids for asked in service.asked] == [["1.2.1", "1.2.2"], ["1.2.3", "1.2.4"], ["1.2.5"]]
    assert set(told.outcomes.values()) == {"delivered"}
    assert told.paced == sum(each.item.data_set_bytes for each in found)
    for asked in service.asked:
        assert (asked.method, asked.target) == ("POST", "/dicom-web/studies")
        assert int(asked.headers["content-length"]) == len(asked.body)
        assert asked.headers["accept"] == "application/dicom+json"
        assert "transfer-encoding" not in asked.headers
        assert "authorization" not in asked.headers
        for uid, content in asked.files.items():
            meta = parse_file_meta(content[:HEAD_BYTES])
            assert content[meta.data_set_offset :] == (tmp_path / uid).read_bytes()[8:]
            answer = told.answers[uid]
            assert (answer.status, answer.http_status) == (0, 200)
            assert answer.association_id == asked.headers["x-request-id"]
    assert len({asked.connection for asked in service.asked}) == 1


def test_batches_by_bytes(tmp_path: Path) -> None:
    """What would make a request too long begins the next one; what is too long by itself goes alone."""
    found = instances(tmp_path, 4, size=400_000)
    with web_service() as service:
        told = run(found, target(service.port, batch_bytes=1_000_000, parallel_requests=1))
        again = run(found[:2], target(service.port, batch_bytes=100_000, parallel_requests=1))

    assert [len(asked.uids) for asked in service.asked] == [2, 2, 1, 1]
    assert set(told.outcomes.values()) | set(again.outcomes.values()) == {"delivered"}


def test_requests_run_at_once(tmp_path: Path) -> None:
    """As many as the settings say: none is answered before all three are there."""
    barrier = threading.Barrier(3, timeout=10)

    def answer(asked: Asked) -> Action:
        barrier.wait()
        return stored(*asked.uids)

    with web_service(answer) as service:
        told = run(instances(tmp_path, 6), target(service.port, batch_instances=1, parallel_requests=3))
    assert service.most_at_once == 3
    assert set(told.outcomes.values()) == {"delivered"}


def test_each_instance_has_its_own_answer(tmp_path: Path) -> None:
    """PS3.18 Section 10.5.3; what the response does not name is not delivered."""
    reply = stored("1.2.1", failed={"1.2.2": 0xA700, "1.2.3": 0xC122}, warned={"1.2.4": 0xB000})
    with web_service(lambda _: reply) as service:
        told = run(instances(tmp_path, 5), target(service.port))
    assert told.outcomes == {
        "1.2.1": "delivered",
        "1.2.2": "retry",
        "1.2.3": "refused",
        "1.2.4": "warning",
        "1.2.5": "refused",
    }
    assert told.answers["1.2.2"].words == "Refused: out of resources"
    assert told.answers["1.2.5"].words == "the store response does not name it"
    assert (told.answers["1.2.4"].status, told.answers["1.2.4"].http_status) == (0xB000, 202)


def _others(reason: int, status: int, named: Reply | None = None) -> Reply:
    """A store response with a reason for what it does not name (PS3.18 Table I.1-1)."""
    response = json.loads(named.body) if named is not None else {}
    response["0008119A"] = {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [reason]}}]}
    return json_reply(response, status, "application/dicom+json")


def test_what_is_not_named_has_the_reason_of_the_other_failures(tmp_path: Path) -> None:
    """One that may pass is tried again."""
    found = instances(tmp_path, 2)
    with web_service(lambda _: _others(0xA700, 202, stored("1.2.1"))) as service:
        told = run(found, target(service.port))
        assert told.outcomes == {"1.2.1": "delivered", "1.2.2": "retry"}
        assert told.answers["1.2.2"].status == 0xA700
        for status in (200, 202, 409):
            service.answer = lambda _, status=status: _others(0xA700, status)  # type: ignore[misc]
            assert run(found, target(service.port)).outcomes == {"1.2.1": "retry", "1.2.2": "retry"}
    assert len(service.asked) == 4


def test_a_reason_without_a_name_costs_the_others_of_a_request_nothing(tmp_path: Path) -> None:
    """It is halved as one without a reason is, and who is left alone has the reason; in a 503 it is the service's."""

    def answer(asked: Asked) -> Action:
        return _others(0xC122, 409) if "1.2.3" in asked.uids else takes_all(asked)

    with web_service(answer) as service:
        told = run(instances(tmp_path, 5), target(service.port))
        assert [uid for uid, outcome in told.outcomes.items() if outcome != "delivered"] == ["1.2.3"]
        refused = told.answers["1.2.3"]
        assert (refused.outcome.value, refused.status, refused.http_status) == ("refused", 0xC122, 409)
        assert refused.words == "Referenced transfer syntax not supported"
        service.answer = lambda _: _others(0xC122, 503)
        told = run(instances(tmp_path, 5), target(service.port))
    assert isinstance(told.error, HttpRefused)
    assert (told.answers, told.under_way) == ({}, [])


def test_a_service_in_trouble_refuses_nobody_by_saying_nothing(tmp_path: Path) -> None:
    """An empty store response beside a 5xx is none; and what one does not name that says of others is tried again."""
    empty = {"00081198": {"vr": "SQ"}, "00081199": {"vr": "SQ", "Value": []}}
    with web_service(lambda _: json_reply(empty, 503, "application/dicom+json")) as service:
        told = run(instances(tmp_path, 2), target(service.port))
        assert isinstance(told.error, HttpRefused)
        assert (told.answers, told.under_way) == ({}, [])
        service.answer = lambda _: Reply(500, stored("1.2.1").body)
        told = run(instances(tmp_path, 2), target(service.port))
    assert told.outcomes == {"1.2.1": "delivered", "1.2.2": "retry"}
    assert (
        told.answers["1.2.2"].words == "HTTP 500: a fault in the service; the store response does not name it"
    )


def test_requests_that_run_at_once_are_paced_one_at_a_time(tmp_path: Path) -> None:
    """A pace counts bytes without a lock of its own: while one waits in it, the other request is there and waits too."""
    both, inside, most = threading.Event(), 0, 0

    def head_came(_target: str) -> None:
        heads.append(None)
        if len(heads) == 2:
            both.set()

    def pace(_count: int) -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        if both.wait(10):
            time.sleep(0.02)  # the other has sent its head, and is about to come in
        inside -= 1

    heads: list[None] = []
    with web_service() as service:
        service.early = head_came
        to = target(service.port, batch_instances=1, parallel_requests=2)
        told = run(instances(tmp_path, 2), to, pace=pace)
    assert set(told.outcomes.values()) == {"delivered"}
    assert len(heads) == 2
    assert most == 1


def test_a_duplicate_is_what_the_settings_say(tmp_path: Path) -> None:
    """A service that holds the UID may hold other bytes."""
    found = instances(tmp_path, 1)
    with web_service(lambda _: stored(failed={"1.2.1": 0x0111})) as service:
        assert run(found, target(service.port)).outcomes == {"1.2.1": "refused"}
        trusting = target(service.port, duplicates=Duplicates.DELIVERED)
        assert run(found, trusting).outcomes == {"1.2.1": "warning"}


@pytest.mark.parametrize("status", [400, 409, 413, 415, 422])
def test_a_request_that_is_refused_as_a_whole_is_halved(tmp_path: Path, status: int) -> None:
    """Down to the instance that it is about: the others are stored."""

    def answer(asked: Asked) -> Action:
        return Reply(status) if "1.2.5" in asked.uids else stored(*asked.uids)

    with web_service(answer) as service:
        told = run(instances(tmp_path, 8), target(service.port))
    assert told.error is None
    assert [uid for uid, outcome in told.outcomes.items() if outcome == "refused"] == ["1.2.5"]
    assert len(told.answers) == 8
    refused = told.answers["1.2.5"]
    assert (refused.status, refused.http_status) == (None, status)
    assert refused.words.startswith(f"HTTP {status}: ")


def test_what_is_too_long_for_it_goes_in_shorter_requests(tmp_path: Path) -> None:
    """413 says nothing of the service as a whole, however often."""
    with web_service(lambda asked: Reply(413) if len(asked.uids) > 1 else takes_all(asked)) as service:
        assert set(run(instances(tmp_path, 7), target(service.port)).outcomes.values()) == {"delivered"}
    with web_service(lambda _: Reply(413)) as service:
        told = run(instances(tmp_path, 5), target(service.port))
    assert told.error is None
    assert set(told.outcomes.values()) == {"refused"}


def test_a_service_that_takes_nothing_is_not_asked_for_each(tmp_path: Path) -> None:
    """Three instances alone are enough to know; the others keep their state."""
    with web_service(lambda _: Reply(415)) as service:
        told = run(instances(tmp_path, 40), target(service.port, parallel_requests=1))
    assert isinstance(told.error, HttpRefused)
    assert told.error.status == 415
    assert list(told.outcomes.values()) == ["refused"] * 3
    assert told.under_way == []
    assert len(service.asked) < 12


@pytest.mark.parametrize("tls", [False, True])
def test_an_answer_that_does_not_wait_for_the_body_is_heard(tmp_path: Path, tls: bool) -> None:
    """413 to the head of a long request, and nothing more is read: it is heard while the rest cannot be sent."""
    authority = Authority(tmp_path)
    context = acceptor_context(authority.acceptor(authority.issue("s"))) if tls else None
    trusting = requestor_context(authority.requestor()) if tls else None
    found = instances(tmp_path, 1, size=20_000_000)
    with web_service(tls=context) as service:
        service.early = lambda _: Reply(413)
        told = run(found, target(service.port, tls=trusting))
    assert told.error is None
    assert told.answers["1.2.1"].http_status == 413


@pytest.mark.parametrize(
    ("status", "retryable", "was_under_way"),
    [
        (301, False, False),
        (302, False, False),
        (403, False, False),
        (404, False, False),
        (405, False, False),
        (406, False, False),
        (408, True, False),
        (429, True, False),
        (500, True, True),
        (501, False, False),
        (502, True, False),
        (503, True, False),
        (504, True, True),
        (507, True, False),
        (599, True, False),
    ],
)
def test_every_other_status_ends_the_attempt(
    tmp_path: Path, status: int, retryable: bool, was_under_way: bool
) -> None:
    """With its row of the table, and how long it wants to be left alone; no instance is to blame."""
    with web_service(lambda _: Reply(status, headers={"Retry-After": "7"})) as service:
        told = run(instances(tmp_path, 2), target(service.port))
    assert isinstance(told.error, HttpRefused)
    assert (told.error.status, told.error.retryable, told.error.retry_after_s) == (status, retryable, 7)
    assert told.answers == {}
    assert told.under_way == (["1.2.1", "1.2.2"] if was_under_way else [])
    assert f"HTTP {status}" in str(told.error)


@pytest.mark.parametrize(
    ("action", "error"),
    [
        ("close", AssociationAborted),
        ("reset", AssociationAborted),
        ("silence", AssociationTimeout),
        ("trickle", AssociationTimeout),
        (b"\x02\x00\x00\x00 this is no HTTP\r\n\r\n", PeerBrokeProtocol),
        (Reply(200), PeerBrokeProtocol),
        (Reply(202), PeerBrokeProtocol),
        (Reply(204), PeerBrokeProtocol),
        (Reply(200, b"<html>log in</html>", {"Content-Type": "text/html"}), PeerBrokeProtocol),
        (Reply(200, b" " * 200_000 + stored("1.2.1").body), PeerBrokeProtocol),
        (Reply(200, stored("1.2.1").body, {"Content-Length": "9999"}), AssociationTimeout),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_is_no_answer_delivers_nothing(tmp_path: Path, action: Action, error: type[Exception]) -> None:
    """It was under way: nobody knows whether the service has it. And the wait for it ends in time."""

    def answer(asked: Asked) -> Action:
        return action

    with web_service(answer) as service:
        told = run(instances(tmp_path, 1), target(service.port, response_s=0.5))
    assert type(told.error) is error
    assert told.answers == {}
    assert told.under_way == ["1.2.1"]


_OK = b"HTTP/1.1 200 OK\r\n"
_FOREVER = b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\r\n",
        b"HTTP/1.1 99999 What\r\n\r\n",
        b"HTTP/1.1 000 Zero\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nxxx",
        b"HTTP/1.1 999 Nothing\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/9.9 200 OK\r\n\r\n",
        _OK + b"Content-Length: -1\r\n\r\n",
        _OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        _OK + b"Content-Length: 99999999999999999999\r\n\r\n{}",
        _OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        _OK + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\n",
        _OK + b"Transfer-Encoding: gzip\r\n\r\n\x1f\x8b",
        _OK + b"X: " + b"y" * 300_000 + b"\r\n\r\n",
        _OK + b"X: \x00\xff\r\n\r\n",
        _OK + b"no header at all\r\n\r\n",
        _FOREVER,
        b"HTTP/1.1 307 There\r\nLocation: http://[\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 307 There\r\nLocation: /\xe9 \x01\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 307 There\r\nLocation: ftp://127.0.0.1/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 307 There\r\nLocation: http://127.0.0.1:99999999/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 503 No\r\nRetry-After: 9e99999, Fri\r\nContent-Length: 0\r\n\r\n",
    ],
    ids=lambda raw: repr(raw[9:40]),
)
def test_bytes_that_mean_harm_end_in_an_error_of_the_house(tmp_path: Path, raw: bytes) -> None:
    """Nothing is delivered, nothing hangs, and no error has another kind."""
    with web_service(lambda _: raw) as service:
        told = run(instances(tmp_path, 1), target(service.port, response_s=0.5))
    assert isinstance(told.error, AssociationError)
    assert told.answers == {}


def test_nobody_there(tmp_path: Path) -> None:
    """Nothing was under way."""
    told = run(instances(tmp_path, 1), target(free_ports(1)[0]))
    assert isinstance(told.error, PeerUnreachable)
    assert (told.answers, told.under_way) == ({}, [])


def test_what_was_answered_before_the_end_counts(tmp_path: Path) -> None:
    """The second request dies: the first is delivered."""

    def answer(asked: Asked) -> Action:
        return "close" if "1.2.2" in asked.uids else stored(*asked.uids)

    with web_service(answer) as service:
        told = run(instances(tmp_path, 3), target(service.port, batch_instances=1, parallel_requests=1))
    assert isinstance(told.error, AssociationAborted)
    assert told.outcomes == {"1.2.1": "delivered"}
    assert told.under_way == ["1.2.2"]


def test_a_redirect_is_followed_to_the_same_service_only(tmp_path: Path) -> None:
    """307 to another path, with body and credentials; to another port it is an answer, and nobody there is asked."""
    secret = tmp_path / "token"
    secret.write_text("abc\n")
    auth = DicomwebAuthSettings(token_file=secret)
    found = instances(tmp_path, 1)
    with web_service() as other, web_service() as service:
        there = {"Location": "/elsewhere/studies"}
        service.answer = lambda asked: (
            takes_all(asked) if asked.target == there["Location"] else Reply(307, headers=there)
        )
        told = run(found, target(service.port, auth=auth))
        assert told.outcomes == {"1.2.1": "delivered"}
        assert [asked.headers["authorization"] for asked in service.asked] == ["Bearer abc"] * 2

        there["Location"] = f"http://127.0.0.1:{other.port}/dicom-web/studies"
        told = run(found, target(service.port, auth=auth))
        assert isinstance(told.error, HttpRefused)
        assert told.error.status == 307
        assert other.asked == []

        there["Location"] = "/again/studies"
        service.answer = lambda _: Reply(308, headers={"Location": "/again/studies"})
        before = len(service.asked)
        told = run(found, target(service.port, auth=auth))
        assert isinstance(told.error, HttpRefused)
        assert len(service.asked) - before == 4


def test_nothing_is_begun_after_a_no(tmp_path: Path) -> None:
    """What is under way is waited for; what is left is left."""
    answers = iter([True, True, True, True])
    with web_service() as service:
        told = run(
            instances(tmp_path, 5),
            target(service.port, batch_instances=1, parallel_requests=1),
            keep_going=lambda: next(answers, False),
        )
    assert told.error is None
    assert 1 <= len(told.answers) <= 2
    assert service.stored == list(told.answers)


def test_a_file_that_cannot_be_read_costs_the_others_nothing(tmp_path: Path) -> None:
    """One is gone, one short, one odd: they are told, and the rest is delivered."""
    found = instances(tmp_path, 5, size=1000)
    (tmp_path / "1.2.2").unlink()
    (tmp_path / "1.2.3").write_bytes(b"short")
    odd = found[3].item
    with (tmp_path / "1.2.4").open("ab") as file:
        file.write(b"x")
    object.__setattr__(odd, "data_set_bytes", odd.data_set_bytes + 1)
    with web_service() as service:
        told = run(found, target(service.port))
    assert told.error is None
    assert told.outcomes == {
        "1.2.1": "delivered",
        "1.2.2": "retry",
        "1.2.3": "refused",
        "1.2.4": "refused",
        "1.2.5": "delivered",
    }


# ---- credentials


def _client(tmp_path: Path, port: int, **more: object) -> DicomwebAuthSettings:
    secret = tmp_path / "secret"
    if not secret.exists():
        secret.write_text("s3cret&+\n")
    return DicomwebAuthSettings.model_validate(
        {
            "token_url": f"http://127.0.0.1:{port}/token",
            "client_id": "the client",
            "client_secret_file": secret,
            **more,
        }
    )


def _server_of_tokens(given: list[str]) -> Callable[[Asked], Action]:
    def answer(asked: Asked) -> Action:
        given.append(f"t{len(given) + 1}")
        return json_reply({"access_token": given[-1], "token_type": "Bearer", "expires_in": 3600})

    return answer


def test_an_access_token_is_asked_for_once(tmp_path: Path) -> None:
    """For all requests and transfers of a destination, also at once; the client shows itself as RFC 6749 has it."""
    given: list[str] = []
    with web_service(_server_of_tokens(given)) as tokens, web_service() as service:
        to = target(
            service.port,
            auth=_client(tmp_path, tokens.port, scope="dicom.write"),
            batch_instances=1,
            parallel_requests=4,
        )
        for folder in ("a", "b"):
            (tmp_path / folder).mkdir()
            assert set(run(instances(tmp_path / folder, 6), to).outcomes.values()) == {"delivered"}
    assert given == ["t1"]
    assert {asked.headers["authorization"] for asked in service.asked} == {"Bearer t1"}
    [asked] = tokens.asked
    assert parse_qs(asked.body.decode()) == {"grant_type": ["client_credentials"], "scope": ["dicom.write"]}
    shown = base64.b64decode(asked.headers["authorization"].removeprefix("Basic "))
    assert shown == b"the+client:s3cret%26%2B"


def test_a_token_that_is_refused_is_renewed_once(tmp_path: Path) -> None:
    """Then the request is sent again; a second 401 ends the attempt."""
    given: list[str] = []

    def answer(asked: Asked) -> Action:
        return takes_all(asked) if asked.headers["authorization"] == "Bearer t2" else Reply(401)

    with web_service(_server_of_tokens(given)) as tokens, web_service(answer) as service:
        to = target(service.port, auth=_client(tmp_path, tokens.port, client_auth="post"))
        assert run(instances(tmp_path, 2), to).outcomes == {"1.2.1": "delivered", "1.2.2": "delivered"}
        assert given == ["t1", "t2"]
        assert parse_qs(tokens.asked[0].body.decode())["client_secret"] == ["s3cret&+"]
        assert "authorization" not in tokens.asked[0].headers

        service.answer = lambda _: Reply(401)
        told = run(instances(tmp_path, 2), to)
    assert isinstance(told.error, HttpRefused)
    assert told.error.status == 401
    assert (told.answers, told.under_way) == ({}, [])
    assert given == ["t1", "t2", "t3"]


@pytest.mark.parametrize(
    ("lives_s", "good_for_s"), [(3600, 3570), (40, 20), (10, 5), (None, 270), (True, 270), (-1, 270)]
)
def test_a_token_is_renewed_before_its_end(tmp_path: Path, lives_s: object, good_for_s: float) -> None:
    """Half a minute before; one that lives for less than a minute, at half its time; one that does not say, in minutes."""
    given: list[int] = []
    now = [1000.0]

    def answer(asked: Asked) -> Action:
        given.append(len(given))
        life = {} if lives_s is None else {"expires_in": lives_s}
        return json_reply({"access_token": f"t{given[-1]}", **life})

    with web_service(answer) as service:
        tokens = AccessTokens(_client(tmp_path, service.port), "x", secret=lambda: "s", clock=lambda: now[0])
        assert tokens.get() == "t0"
        now[0] += good_for_s - 0.1
        assert tokens.get() == "t0"
        now[0] += 0.2
        assert tokens.get() == "t1"
        assert tokens.get(refused="t0") == "t1"  # another runner has renewed it meanwhile
        assert tokens.get(refused="t1") == "t2"


@pytest.mark.parametrize(
    ("reply", "status", "retryable"),
    [
        (json_reply({"error": "invalid_client"}, 401), 401, False),
        (json_reply({"error": "<b>PATIENT^NAME</b>"}, 400), 401, False),
        (Reply(404), 401, False),
        (Reply(503, headers={"Retry-After": "9"}), 503, True),
        (Reply(429), 429, True),
        (Reply(200, b"<html>"), 502, True),
        (json_reply({"access_token": "a b"}), 502, True),
        (json_reply({"access_token": "ab", "token_type": "mac"}), 502, True),
    ],
)
def test_a_server_of_tokens_that_gives_none(
    tmp_path: Path, reply: Reply, status: int, retryable: bool
) -> None:
    """Nothing is sent to the service, and what the server says of its own is not repeated."""
    with web_service(lambda _: reply) as tokens, web_service() as service:
        told = run(instances(tmp_path, 1), target(service.port, auth=_client(tmp_path, tokens.port)))
    assert isinstance(told.error, HttpRefused)
    assert (told.error.status, told.error.retryable) == (status, retryable)
    assert "PATIENT" not in str(told.error)
    assert service.asked == []
    assert (told.answers, told.under_way) == ({}, [])


def test_a_user_has_a_password_in_a_file(tmp_path: Path) -> None:
    """RFC 7617, read each time; a file that is not there is a setting to correct."""
    secret = tmp_path / "password"
    secret.write_text("grün\n")
    auth = DicomwebAuthSettings(user="relay", password_file=secret)
    with web_service() as service:
        assert run(instances(tmp_path, 1), target(service.port, auth=auth)).error is None
        [asked] = service.asked
        shown = base64.b64decode(asked.headers["authorization"].removeprefix("Basic "))
        assert shown.decode() == "relay:grün"
        secret.unlink()
        told = run(instances(tmp_path, 1), target(service.port, auth=auth))
    assert isinstance(told.error, ConfigurationError)
    assert str(secret) in str(told.error)
    assert "auth.password_file" in str(told.error)


# ---- TLS


def test_tls_is_checked_like_that_of_any_destination(tmp_path: Path) -> None:
    """Trusted by its authority; not by another, not for another host; and a certificate of ours where it wants one."""
    authority = Authority(tmp_path)
    (tmp_path / "o").mkdir()
    other = Authority(tmp_path / "o", "other")
    trusting = requestor_context(authority.requestor())
    found = instances(tmp_path, 1)
    with web_service(tls=acceptor_context(authority.acceptor(authority.issue("s")))) as service:
        assert run(found, target(service.port, tls=trusting)).outcomes == {"1.2.1": "delivered"}
        for context, fault in (
            (requestor_context(other.requestor()), TlsFault.UNTRUSTED),
            (requestor_context(authority.requestor(minimum="1.3")), None),
        ):
            told = run(found, target(service.port, tls=context))
            assert (told.error.fault if isinstance(told.error, TlsFailed) else told.error) == fault
    elsewhere = authority.issue("elsewhere", "pacs.example")
    with web_service(tls=acceptor_context(authority.acceptor(elsewhere))) as service:
        told = run(found, target(service.port, tls=trusting))
        assert isinstance(told.error, TlsFailed)
        assert told.error.fault is TlsFault.WRONG_HOST
    mutual = acceptor_context(authority.acceptor(authority.issue("m"), mutual=True))
    with web_service(tls=mutual) as service:
        ours = requestor_context(authority.requestor(authority.issue("ours")))
        assert run(found, target(service.port, tls=ours)).outcomes == {"1.2.1": "delivered"}
        told = run(found, target(service.port, tls=trusting))
        assert isinstance(told.error, TlsFailed | AssociationAborted)


def test_https_where_there_is_none(tmp_path: Path) -> None:
    """The fault has a name."""
    authority = Authority(tmp_path)
    with web_service(lambda _: "close") as service:
        told = run(instances(tmp_path, 1), target(service.port, tls=requestor_context(authority.requestor())))
    assert isinstance(told.error, TlsFailed | PeerUnreachable)
    assert (told.answers, told.under_way) == ({}, [])
