"""[[destinations]] of kind "dicomweb": what they have, and what a mistake is told."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from dicomrelay.settings import DestinationSettings, Settings

_CLIENT = {"token_url": "https://t", "client_id": "c", "client_secret_file": "/s"}


def _web(**more: Any) -> dict[str, Any]:
    return {"name": "cloud", "kind": "dicomweb", "url": "https://h.example/dicom-web", **more}


@pytest.mark.parametrize(
    ("url", "host", "port", "kept"),
    [
        ("https://h.example/dicom-web/", "h.example", 443, "https://h.example/dicom-web"),
        ("http://h.example", "h.example", 80, "http://h.example"),
        ("https://h.example:8443/a/b", "h.example", 8443, "https://h.example:8443/a/b"),
        ("https://[::1]:8443/a", "::1", 8443, "https://[::1]:8443/a"),
    ],
)
def test_the_url_says_where_it_is(url: str, host: str, port: int, kept: str) -> None:
    """For the ledger and the pages, which know hosts and ports."""
    found = DestinationSettings.model_validate(_web(url=url))
    assert (found.host, found.port, found.url, found.ae_title) == (host, port, kept, "STOW-RS")


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"name": "c", "kind": "dicomweb"}, "needs url"),
        (_web(url="https://h.example/dicom-web/studies"), "leave out /studies"),
        (_web(url="https://h.example/studies/"), "leave out /studies"),
        (_web(url="ftp://h"), "write it as https://host"),
        (_web(url="h.example"), "write it as https://host"),
        (_web(url="https://h/a b"), "no spaces"),
        (_web(url="https://h?x=1"), "leave out"),
        (_web(url="https://h:99999"), "[Pp]ort"),
        (_web(url="https://u:secret@h"), "belong into `auth`"),
        (_web(host="other"), "leave it out"),
        (_web(verification="find"), "verification is nothing"),
        (_web(identity={"user": "u"}), "identity is nothing"),
        (_web(asynchronous_operations=4), "asynchronous_operations is nothing"),
        (_web(transfer_syntax_policy="lossless"), "negotiates nothing"),
        (_web(url="http://h", tls=True), "write https"),
        (_web(url="http://h", auth={"token_file": "/t"}), "https only"),
        (_web(auth={}), "one of the three"),
        (_web(auth={"token_file": "/t", "user": "u"}), "one of the three"),
        (_web(auth={"user": "u"}), "go together"),
        (_web(auth={"token_url": "https://t", "client_id": "c"}), "go together"),
        (_web(auth={"token_file": "/t", "scope": "s"}), "go with token_url"),
        (_web(auth={**_CLIENT, "token_url": "http://t"}), "use https"),
        ({"name": "c", "ae_title": "A", "host": "h", "url": "https://h"}, "url is nothing"),
        ({"name": "c", "kind": "dimse", "ae_title": "A", "host": "h", "url": "https://h"}, "url is nothing"),
        ({"name": "c", "url": "https://h"}, 'add kind = "dicomweb"'),
        ({"name": "c", "ae_title": "A", "host": "h", "batch_bytes": 5_000_000}, "batch_bytes is nothing"),
    ],
)
def test_what_does_not_fit_is_told(values: dict[str, Any], told: str) -> None:
    """By key and reason; no secret of a URL is quoted by us."""
    with pytest.raises(ValidationError, match=told):
        DestinationSettings.model_validate(values)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8042/dicom-web", "http://localhost", "http://[::1]:80"])
def test_credentials_go_to_this_machine_as_they_are(url: str) -> None:
    """Nobody is in between; and elsewhere when somebody says so."""
    assert DestinationSettings.model_validate(_web(url=url, auth={"token_file": "/t"})).auth
    assert DestinationSettings.model_validate(
        _web(url="http://h", auth={"token_file": "/t", "plain": True})
    ).auth


def test_nobody_is_counted_over_the_web() -> None:
    """`count_at` asks by C-FIND."""
    with pytest.raises(ValidationError, match="DICOMweb destination"):
        Settings.model_validate({"destinations": [_web()], "peers": [{"count_at": "cloud"}]})
