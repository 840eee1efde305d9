"""The viewer's files: built from these sources, all of them, and served by exact name."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from archive import Archive
from streamer.app import create_app
from streamer.viewer import files
from streamer.viewer.pages import PAGE_POLICY

PAGE = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    with closing(Archive.open(tmp_path_factory.mktemp("home") / "archive")) as archive:
        yield archive


def get(archive: Archive, path: str, **headers: str) -> httpx.Response:
    """One answer of the app."""

    async def asked() -> httpx.Response:
        transport = httpx.ASGITransport(create_app(archive))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.get(path, headers=headers)

    return asyncio.run(asked())


def test_what_is_served_was_built_from_these_sources() -> None:
    """When this fails: `make viewer`, and commit what it made."""
    assert files.manifest()["sources"] == files.digest_of_sources()


def test_the_manifest_is_what_is_there() -> None:
    """Every file with its size and digest, and no other."""
    found = {path.name: path for path in files.DIST.iterdir() if path.name != files.MANIFEST}

    assert {*found} == {*files.manifest()["files"]}
    for name, entry in files.manifest()["files"].items():
        content = found[name].read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (entry["bytes"], entry["sha256"])


def test_the_lock_file_names_no_registry() -> None:
    """Packages by version and digest; where they come from is each one's own setting."""
    lock = json.loads((files.HERE / "package-lock.json").read_text(encoding="utf-8"))
    packages = {name: entry for name, entry in lock["packages"].items() if name}

    assert packages
    assert not [name for name, entry in packages.items() if "resolved" in entry]
    assert not [name for name, entry in packages.items() if "integrity" not in entry]


def test_licences_of_everything_in_the_bundles_are_there() -> None:
    """As their licences ask."""
    text = (files.DIST / "licences.txt").read_text(encoding="utf-8")

    for name in ("@cornerstonejs/core", "@kitware/vtk.js", "@cornerstonejs/codec-openjph", "gl-matrix"):
        assert re.search(rf"^{re.escape(name)} \d", text, re.MULTILINE), name


def test_browsers_get_the_viewer_and_others_the_plain_page(archive: Archive) -> None:
    """By Accept, and caches are told so."""
    viewer, plain = get(archive, "/", **PAGE), get(archive, "/")

    assert 'script type="module" src="/viewer/main-' in viewer.text
    assert viewer.headers["content-security-policy"] == PAGE_POLICY
    assert "unsafe-eval" not in PAGE_POLICY.replace("wasm-unsafe-eval", "")
    assert "<h1>Archive</h1>" in plain.text
    assert plain.text == get(archive, "/plain", **PAGE).text
    assert "Accept" in viewer.headers["vary"]
    assert "Accept" in plain.headers["vary"]


def test_the_page_has_no_script_or_style_of_its_own() -> None:
    """The policy would not run them, and everything it names is here."""
    page = (files.DIST / "index.html").read_text(encoding="utf-8")

    assert re.findall(r"<script[^>]*>([^<]*)</script>", page) == [""]
    assert "<style" not in page
    for name in re.findall(r'(?:src|href)="/viewer/([^"]+)"', page):
        assert name in files.manifest()["files"]


@pytest.mark.parametrize("name", sorted(files.manifest()["files"]))
def test_every_file_is_served(archive: Archive, name: str) -> None:
    """Bytes, type, ETag; kept for good where the name has a digest."""
    answer = get(archive, f"/viewer/{name}")

    assert answer.content == (files.DIST / name).read_bytes()
    assert answer.headers["content-type"] == files.content_type(name)
    assert answer.headers["x-content-type-options"] == "nosniff"
    is_kept = "immutable" in answer.headers["cache-control"]
    assert is_kept == bool(re.search(r"-[0-9A-Za-z]{8}\.(js|css|wasm)$", name))
    again = get(archive, f"/viewer/{name}", **{"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_only_the_worker_may_make_functions_from_strings(archive: Archive) -> None:
    """Its answer has a policy of its own; no other has."""
    worker = files.manifest()["worker"]
    scripts = [name for name in files.manifest()["files"] if name.endswith(".js")]

    for name in scripts:
        policy = get(archive, f"/viewer/{name}").headers["content-security-policy"]
        assert (" 'unsafe-eval'" in policy) == (name == worker)


def test_files_come_zipped_to_those_who_take_it(archive: Archive) -> None:
    """And whole to those who do not."""
    name = next(name for name in files.manifest()["files"] if name.startswith("main-"))

    zipped = get(archive, f"/viewer/{name}", **{"accept-encoding": "gzip"})
    whole = get(archive, f"/viewer/{name}", **{"accept-encoding": "identity"})

    assert zipped.headers["content-encoding"] == "gzip"
    assert int(zipped.headers["content-length"]) < len(whole.content) / 2
    assert zipped.content == whole.content
    assert gzip.decompress(files.built(name).zipped) == whole.content  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "name", ["manifest.json", "pages.py", "..%2Fpages.py", "%2e%2e/files.py", "x", "main-.js", "%00"]
)
def test_nothing_else_is_served(archive: Archive, name: str) -> None:
    """404 in words."""
    answer = get(archive, f"/viewer/{name}")

    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


def test_names_of_attributes_come_from_the_dictionary(archive: Archive) -> None:
    """By tag."""
    names = get(archive, "/viewer/names.json").json()

    assert (names["00100010"], names["7FE00010"]) == ("Patient's Name", "Pixel Data")


def test_the_sources_name_no_other_server() -> None:
    """No address of anybody else's in what we wrote."""
    for path in (files.HERE / "src").iterdir():
        assert not re.findall(r"https?://|[\"'`]//[a-z0-9]", path.read_text(encoding="utf-8")), path.name


def test_files_that_are_not_there_leave_the_plain_page(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A checkout without `dist/` still answers at the root."""
    monkeypatch.setattr(files, "DIST", tmp_path)
    files.manifest.cache_clear()
    try:
        assert "<h1>Archive</h1>" in get(archive, "/", **PAGE).text
    finally:
        files.manifest.cache_clear()


def test_names_that_are_none_are_not_remembered() -> None:
    """There is no end of them, and they come from clients."""
    before = files._read.cache_info().currsize
    assert not any(files.built(f"{number}.js") for number in range(100))
    assert files._read.cache_info().currsize == before
