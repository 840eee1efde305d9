"""Where a redirect may lead: credentials and images go nowhere that the settings do not name."""

from __future__ import annotations

import pytest

from dicomrelay.web.redirects import same_service

URL = "https://pacs.example/dicom-web/studies"


@pytest.mark.parametrize(
    ("location", "there"),
    [
        ("/other/studies", "https://pacs.example/other/studies"),
        ("more", "https://pacs.example/dicom-web/more"),
        ("?a=b", "https://pacs.example/dicom-web/studies?a=b"),
        ("https://pacs.example/other", "https://pacs.example/other"),
        ("https://PACS.example:443/other", "https://PACS.example:443/other"),
        ("//pacs.example/other", "https://pacs.example/other"),
        ("https:///other", "https://pacs.example/other"),
    ],
)
@pytest.mark.parametrize("status", [307, 308])
def test_another_path_of_the_same_service_is_asked(status: int, location: str, there: str) -> None:
    """Relative or not; a port that the scheme has is no other one."""
    assert same_service(URL, status, location) == there


@pytest.mark.parametrize(
    "location",
    [
        "",
        "http://pacs.example/dicom-web/studies",
        "https://pacs.example:8443/dicom-web/studies",
        "https://other.example/dicom-web/studies",
        "https://pacs.example.other.example/",
        "https://pacs.example./",
        "//other.example/dicom-web/studies",
        "https://user:secret@pacs.example/other",
        "https://user@pacs.example/other",
        "https://:@pacs.example/other",
        "https://pacs.example@other.example/",
        "ftp://pacs.example/",
        "file:///etc/passwd",
        "https://pacs.example:99999999/",
        "https://pacs.example:x/",
        "https://[/",
        "/with space",
        "/line\r\nX-Header: 1",
        "/caf\xe9",
        "/nul\0",
    ],
)
@pytest.mark.parametrize("status", [307, 308])
def test_nobody_else_is_asked(status: int, location: str) -> None:
    """Nor is a redirect followed whose address is none."""
    assert same_service(URL, status, location) == ""


@pytest.mark.parametrize("status", [200, 201, 300, 301, 302, 303, 304, 305, 306, 309, 401, 503])
def test_a_redirect_that_may_lose_the_body_is_not_followed(status: int) -> None:
    """RFC 9110 Section 15.4: only 307 and 308 keep the method."""
    assert same_service(URL, status, "/other") == ""


def test_an_address_of_version_6_is_compared_as_a_host() -> None:
    """With and without its port."""
    url = "http://[::1]:8042/dicom-web/studies"
    assert same_service(url, 307, "http://[::1]:8042/x") == "http://[::1]:8042/x"
    assert same_service(url, 307, "http://[::1]/x") == ""
    assert same_service(url, 307, "http://[::2]:8042/x") == ""
