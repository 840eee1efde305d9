"""The client of STOW-RS and a service that does what a script says: where it asks, what it shows, what is an answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dicomrelay.errors import HttpRefused, PeerBrokeProtocol
from dicomrelay.settings import DicomwebAuthSettings, Duplicates
from dicomrelay.web.store_response import Told
from dicomrelay.web.stow import StowClient, Stowed
from dicomrelay.web.values import WebPeer, WebPolicy
from tests.support.web_sending import instances
from tests.support.web_service import Action, Asked, Reply, json_reply, stored, takes_all, web_service


def _client(port: int, host: str = "127.0.0.1", **policy: Any) -> StowClient:
    url = f"http://{host}:{port}/dicom-web"
    return StowClient(WebPeer(WebPolicy(url, **policy), "destinations.cloud", "US", response_s=5))


def _store(folder: Path, answer: Callable[[Asked], Action], **policy: Any) -> Stowed:
    """What came of one instance, 1.2.1."""
    with web_service(answer) as service, _client(service.port, **policy) as client:
        return client.store([instances(folder, 1)[0].item], "stow-1", lambda _: None)


@pytest.mark.parametrize("duplicates", [Duplicates.REFUSED, Duplicates.DELIVERED])
def test_a_store_response_is_read_as_the_settings_have_it(tmp_path: Path, duplicates: Duplicates) -> None:
    """With any status; its own words, and how long the service wants to be left alone, come along."""
    stowed = _store(tmp_path, lambda _: stored(failed={"1.2.1": 0x0111}), duplicates=duplicates)
    assert stowed.status == 409
    assert stowed.response is not None
    taken = duplicates is Duplicates.DELIVERED
    assert stowed.response.named["1.2.1"].outcome.value == ("warning" if taken else "refused")
    assert stowed.comment == ""


@pytest.mark.parametrize(
    ("reply", "comment"),
    [
        (Reply(503, b"come\r\nlater", {"Content-Type": "text/plain; charset=utf-8"}), "come later"),
        (Reply(503, b"<html>come later</html>", {"Content-Type": "text/html"}), ""),
        (json_reply({"00081199": {"vr": "SQ"}}, 503, "application/dicom+json"), ""),
        (Reply(503, b"x" * 5000, {"Content-Type": "text/plain"}), "x" * 200),
    ],
)
def test_an_answer_that_says_nothing_of_instances_is_one_as_a_whole(
    tmp_path: Path, reply: Reply, comment: str
) -> None:
    """An empty store response names nobody, so nobody is refused by it."""
    reply = Reply(reply.status, reply.body, {**reply.headers, "Retry-After": "9"})
    stowed = _store(tmp_path, lambda _: reply)
    assert (stowed.status, stowed.response, stowed.comment, stowed.retry_after_s) == (503, None, comment, 9)


@pytest.mark.parametrize("body", [b"", b"{}", b'{"00081199": {"vr": "SQ", "Value": []}}'])
def test_success_that_names_no_instance_is_none(tmp_path: Path, body: bytes) -> None:
    """Only what is named is stored."""
    with pytest.raises(PeerBrokeProtocol, match="without a store response"):
        _store(tmp_path, lambda _: Reply(200, body, {"Content-Type": "application/dicom+json"}))


def test_a_reason_without_an_instance_is_a_response(tmp_path: Path) -> None:
    """Other Failures Sequence (PS3.18 Table I.1-1)."""
    other = {"0008119A": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [0xC122]}}]}}
    stowed = _store(tmp_path, lambda _: json_reply(other, 409, "application/dicom+json"))
    assert stowed.response is not None
    found = stowed.response.of("1.2.1")
    assert isinstance(found, Told)
    assert found.status == 0xC122


@pytest.mark.parametrize(
    "elsewhere", ["http://localhost:{port}/x", "http://127.0.0.1:1/x", "//localhost:{port}/x"]
)
def test_a_redirect_to_another_host_or_port_is_an_answer(tmp_path: Path, elsewhere: str) -> None:
    """The same machine under another name is another service: neither token nor image goes there."""
    token = tmp_path / "token"
    token.write_text("abc")
    with web_service() as service:
        there = elsewhere.format(port=service.port)
        service.answer = lambda _: Reply(307, headers={"Location": there})
        with _client(service.port, auth=DicomwebAuthSettings(token_file=token)) as client:
            stowed = client.store([instances(tmp_path, 1)[0].item], "stow-1", lambda _: None)
    assert (stowed.status, stowed.response) == (307, None)
    assert len(service.asked) == 1


def test_a_redirect_within_the_service_is_followed_three_times_at_most(tmp_path: Path) -> None:
    """With the same body each time."""
    hops = ["/1", "/2", "/3"]

    def answer(asked: Asked) -> Action:
        left = hops[1 + hops.index(asked.target) if asked.target in hops else 0 :]
        return Reply(308, headers={"Location": left[0]}) if left else takes_all(asked)

    with web_service(answer) as service, _client(service.port) as client:
        item = instances(tmp_path, 1)[0].item
        assert client.store([item], "stow-1", lambda _: None).status == 200
        assert [asked.target for asked in service.asked] == ["/dicom-web/studies", *hops]
        assert len({len(asked.body) for asked in service.asked}) == 1
        hops.append("/4")
        assert client.store([item], "stow-2", lambda _: None).status == 308


def test_a_token_that_was_renewed_in_its_file_is_read_after_a_401(tmp_path: Path) -> None:
    """Once; the same token is not shown a second time."""
    token = tmp_path / "token"
    token.write_text("old")

    def answer(asked: Asked) -> Action:
        token.write_text("new")
        return takes_all(asked) if asked.headers["authorization"] == "Bearer new" else Reply(401)

    [instance] = instances(tmp_path, 1)
    auth = DicomwebAuthSettings(token_file=token)
    with web_service(answer) as service, _client(service.port, auth=auth) as client:
        assert client.store([instance.item], "stow-1", lambda _: None).status == 200
        service.answer = lambda _: Reply(401)
        assert client.store([instance.item], "stow-2", lambda _: None).status == 401
    assert [asked.headers["authorization"] for asked in service.asked] == [
        "Bearer old",
        "Bearer new",
        "Bearer new",
    ]


@pytest.mark.parametrize(
    ("status", "is_there"),
    [(200, True), (204, True), (404, True), (405, True), (501, True)]
    + [(status, False) for status in (401, 403, 407, 429, 500, 503)],
)
def test_who_answers_a_search_is_there(status: int, is_there: bool) -> None:
    """A service may store and not search; one that does not let us in, or not now, is not there for us."""
    with web_service(lambda _: Reply(status)) as service, _client(service.port) as client:
        if is_there:
            assert client.probe().status == status
        else:
            with pytest.raises(HttpRefused) as caught:
                client.probe()
            assert caught.value.status == status
        [asked] = service.asked
    assert asked.method == "GET"
    assert asked.target.startswith("/dicom-web/studies?StudyInstanceUID=2.25.")
    assert asked.body == b""
