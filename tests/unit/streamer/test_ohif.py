"""OHIF: what an npm package must be to be installed, what a crash leaves, and how it is served. The package is made here."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from archive import Archive
from dicomrelay.cli.main import cli
from dicomrelay.cli.viewing import install as viewing_install
from dicomrelay.errors import ConfigurationError, ServiceUnavailable
from streamer.app import create_app
from streamer.viewer import ohif_install, ohif_package
from streamer.viewer.ohif_install import POINTER, download, install, installed, remove, tarball_url

PAGE = (
    b'<html><head><link rel="manifest" href="/manifest.json"><script>window.PUBLIC_URL="/"</script>'
    b'<script type="module" src="/init-service-worker.js"></script><script src="/app-config.js"></script>'
    b'<script defer src="/app.bundle.1.js"></script><link href="/app.bundle.css" rel="stylesheet"></head></html>'
)
CONTENT = {
    "package/package.json": b"{}",
    "package/dist/index.html": PAGE,
    "package/dist/app.bundle.1.js": b'__webpack_require__.p = "/";' + b"x" * 2000,
    "package/dist/app.bundle.css": b"a{src:url(/font.woff2)}",
    "package/dist/app-config.js": b"window.config = {dataSources: 'elsewhere'}",
    "package/dist/sw.js": b"importScripts('https://elsewhere.example')",
    "package/dist/assets/logo.svg": b"<svg/>",
    "package/dist/app.bundle.1.js.map": b"{}",
    "package/dist/ort/ort.wasm": b"0",
}


def package(path: Path, content: dict[str, bytes] = CONTENT, *, links: tuple[str, ...] = ()) -> str:
    """An npm package; its SHA-512."""
    with tarfile.open(path, "w:gz") as archive:
        for name, data in content.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        for name in links:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(member)
    return hashlib.sha512(path.read_bytes()).hexdigest()


@pytest.fixture
def viewers(tmp_path: Path) -> Path:
    return tmp_path / "viewers"


def put(
    viewers: Path, content: dict[str, bytes] = CONTENT, *, version: str = "1.0.0", links: tuple[str, ...] = ()
) -> None:
    """Install a package with this content."""
    path = viewers.parent / "ohif.tgz"
    install(viewers, path, version=version, sha512=package(path, content, links=links))


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    with closing(Archive.open(tmp_path_factory.mktemp("home") / "archive")) as archive:
        yield archive


def get(archive: Archive, viewers: Path | None, *paths: str) -> list[httpx.Response]:
    """Answers of one app."""

    async def asked() -> list[httpx.Response]:
        transport = httpx.ASGITransport(create_app(archive, viewers=viewers))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return [await client.get(path) for path in paths]

    return asyncio.run(asked())


def test_what_is_served_of_a_package(viewers: Path) -> None:
    """Nothing that loads from elsewhere, no maps, no machine learning; the manifest has every file."""
    put(viewers)

    found = installed(viewers)
    assert found is not None
    assert sorted(found["files"]) == ["app.bundle.1.js", "app.bundle.css", "assets/logo.svg", "index.html"]
    folder = viewers / found["folder"]
    for name, entry in found["files"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == entry["sha256"]


def test_the_public_path_is_ours(viewers: Path) -> None:
    """In the page, the bundles and the style."""
    put(viewers)

    found = installed(viewers)
    assert found is not None
    folder = viewers / found["folder"]
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert 'PUBLIC_URL="/ohif/"' in page
    assert 'src="/ohif/app.bundle.1.js"' in page
    assert "service-worker" not in page
    assert (folder / "app.bundle.1.js").read_bytes().startswith(b'__webpack_require__.p = "/ohif/";')
    assert (folder / "app.bundle.css").read_bytes() == b"a{src:url(/ohif/font.woff2)}"


@pytest.mark.parametrize("name", ["../up", "a/../../up", "/etc/up", ".hidden", "a b", "ünicode"])
def test_a_name_that_leads_elsewhere_is_not_unpacked(viewers: Path, name: str) -> None:
    """Neither as a file nor as a link."""
    put(viewers, {**CONTENT, f"package/dist/{name}": b"evil"}, links=("package/dist/link.js",))

    found = installed(viewers)
    assert found is not None
    assert len(found["files"]) == 4
    assert not [
        path
        for path in viewers.parent.rglob("*")
        if path.name in {"up", ".hidden", "a b", "ünicode", "link.js"}
    ]


def test_another_digest_is_refused_before_anything_is_unpacked(viewers: Path, tmp_path: Path) -> None:
    """The message has both."""
    package(tmp_path / "ohif.tgz")

    with pytest.raises(ConfigurationError, match=r"SHA-512 is .* is expected: not installed"):
        install(viewers, tmp_path / "ohif.tgz")
    assert not viewers.exists()


@pytest.mark.parametrize(
    "content",
    [{"package/dist/x.js": b""}, {}, {"package/dist/index.html": b"\xff"}],
    ids=["other", "empty", "no text"],
)
def test_what_is_no_ohif_is_refused_and_leaves_the_one_before(
    viewers: Path, content: dict[str, bytes]
) -> None:
    """And nothing of itself."""
    put(viewers)
    before = installed(viewers)

    with pytest.raises(ConfigurationError):
        put(viewers, content)
    assert installed(viewers) == before
    assert sorted(path.name for path in viewers.iterdir()) == sorted(["ohif.json", before["folder"]])  # type: ignore[index]


def test_no_package_and_a_cut_one_are_errors_in_words(viewers: Path, tmp_path: Path) -> None:
    """The file is named, and no path of it."""
    path = tmp_path / "ohif.tgz"
    package(path)
    path.write_bytes(path.read_bytes()[:200])
    digest = hashlib.sha512(path.read_bytes()).hexdigest()
    with pytest.raises(ConfigurationError, match=r"ohif\.tgz"):
        install(viewers, path, version="1", sha512=digest)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        install(viewers, tmp_path / "none.tgz")
    with pytest.raises(ConfigurationError, match=r"no digest of OHIF 9 is known"):
        install(viewers, path, version="9")


def test_too_much_is_refused_while_it_is_unpacked(viewers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what the members say, before they are read."""
    monkeypatch.setattr(ohif_package, "_MOST_BYTES", 1000)

    with pytest.raises(ConfigurationError, match="holds more than"):
        put(viewers)


def test_what_a_crash_left_goes_with_the_next_install(viewers: Path) -> None:
    """The folder that nothing points to, and the pointer that was not named yet."""
    put(viewers, version="1.0.0")
    (viewers / "ohif-0.9.0-0123abcd").mkdir()
    (viewers / "ohif.json.x1").write_text("{")
    (viewers / "mine").mkdir()

    put(viewers, version="2.0.0")

    assert {path.name.rpartition("-")[0] or path.name for path in viewers.iterdir()} == {
        "ohif-2.0.0",
        "ohif.json",
        "mine",
    }
    assert remove(viewers)
    assert [path.name for path in viewers.iterdir()] == ["mine"]
    assert not remove(viewers)


def test_it_is_served_with_one_data_source_and_a_policy_of_its_own(archive: Archive, viewers: Path) -> None:
    """The page for addresses of its own, 404 for files that it has not; inline scripts by digest."""
    put(viewers)

    root, own, missing, config, script, bare = get(
        archive, viewers, "/ohif/", "/ohif/viewer?StudyInstanceUIDs=1", "/ohif/x.js", "/ohif/app-config.js",
        "/ohif/app.bundle.1.js", "/ohif",
    )  # fmt: skip

    assert root.text == own.text
    digest = base64.b64encode(hashlib.sha256(b'window.PUBLIC_URL="/ohif/"').digest()).decode()
    assert f"'sha256-{digest}'" in root.headers["content-security-policy"]
    assert "connect-src 'self' data: blob:;" in root.headers["content-security-policy"]
    assert "script-src 'self' 'unsafe-inline'" not in root.headers["content-security-policy"]
    assert missing.status_code == 404
    assert "elsewhere" not in config.text
    assert "window.location.origin" in config.text
    assert script.headers["content-encoding"] == "gzip"
    assert script.text.startswith("__webpack_require__")
    assert (bare.status_code, bare.headers["location"]) == (308, "/ohif/")


@pytest.mark.parametrize("path", ["/ohif/", "/ohif", "/ohif/app.bundle.1.js"])
def test_where_it_is_not_installed_that_is_said(archive: Archive, viewers: Path, path: str) -> None:
    """With the command that installs it."""
    for folder in (None, viewers):
        [answer] = get(archive, folder, path)
        assert (answer.status_code, "dicomrelay viewer install ohif" in answer.json()["detail"]) == (
            404,
            True,
        )


def test_what_cannot_be_read_any_more_is_no_fault_of_the_client(archive: Archive, viewers: Path) -> None:
    """503, and not a word of where the home is."""
    put(viewers)
    (viewers / POINTER).write_bytes(b"{")

    [found] = get(archive, viewers, "/ohif/")

    assert found.status_code == 503
    assert "viewer install ohif" in found.json()["detail"]
    assert str(viewers) not in found.text


def test_a_file_that_is_no_url_or_cannot_be_fetched(tmp_path: Path) -> None:
    """2 and 3 as exit codes: it is the wish that is wrong, or the way."""
    with pytest.raises(ConfigurationError, match="http or https"):
        download("file:///etc/passwd", tmp_path / "x")
    with pytest.raises(ServiceUnavailable, match="cannot be fetched"):
        download("http://127.0.0.1:9/x", tmp_path / "x")
    assert tarball_url("https://npm.example/", "3.0.0") == "https://npm.example/@ohif/app/-/app-3.0.0.tgz"


def test_an_npm_that_does_not_answer_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What to give is said in words, as where there is no npm."""
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\nexec sleep 60\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("npm_config_registry", raising=False)
    monkeypatch.setattr(viewing_install, "_NPM_TIMEOUT_S", 0.1)

    with pytest.raises(ConfigurationError, match="give --registry"):
        viewing_install._registry()


def test_the_commands(tmp_path: Path) -> None:
    """Install from a file, show, remove."""
    digest = package(tmp_path / "ohif.tgz")
    home = ["--home", str(tmp_path / "var"), "--json"]

    def run(*words: str) -> dict[str, object]:
        done = CliRunner().invoke(cli, ["viewer", *words, *home], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        found: dict[str, object] = json.loads(done.stdout)
        return found

    given = ["--file", str(tmp_path / "ohif.tgz"), "--version", "1.0.0", "--sha512", digest]
    assert run("install", "ohif", *given)["files"] == 4
    assert run("show") == {"built_in": True, "ohif": "1.0.0"}
    assert run("remove", "ohif")["removed"] is True
    assert run("show")["ohif"] is None
    assert len(ohif_install.SHA512[ohif_install.VERSION]) == 128
