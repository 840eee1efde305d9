"""The JavaScript client in a real browser, on a page of another origin that the settings let in."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import streamer.client
from tests.support.browser import WITHOUT_WEBGL, Browser, running_browser
from tests.support.streamer import running_streamer
from tests.support.streams import SLICES, STUDY, VOLUME, make_study, slice_uid, store

MODULES = Path(streamer.client.__file__).parent / "js"
TOKEN = "s3cret-s3cret-s3cret-s3cret-s3cret-x"
# What every test begins with; `value` is what all samples of a frame are.
PRELUDE = """
const [options, asked] = arguments;
const { StreamClient, StreamRefused, StreamEnded } = await import('/streams.js');
const value = (frame) => {
  const samples = new Uint16Array(frame.data.slice().buffer);
  return samples.every((each) => each === samples[0]) && samples.length === 4096 ? samples[0] : -1;
};
"""


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def pages(folder: Path) -> Iterator[str]:
    """A server of files, as anybody may have one; its origin."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Browser, str, str]]:
    """A browser on a page that is let in, where the streamer is, and a page that is not let in."""
    home = tmp_path_factory.mktemp("home")
    store(home, make_study(home / "files"))
    (home / "other").mkdir()
    (home / "other" / "streams.js").write_text("export {}", "utf-8")
    with pages(MODULES) as origin, running_browser(arguments=WITHOUT_WEBGL) as browser:
        options: dict[str, Any] = {"cors_origins": [origin], "access": {"token": TOKEN}}
        with running_streamer(home, **options) as client:
            browser.go(f"{origin}/streams.js")
            yield browser, str(client.base_url), origin


def run(page: tuple[Browser, str, str], script: str, transport: str, **asked: object) -> Any:
    browser, url, _ = page
    options = {"url": url, "token": TOKEN, "transport": transport}
    return browser.run(
        f"return (async (...arguments) => {{ {PRELUDE} {script} }})(...arguments)", options, asked
    )


@pytest.mark.parametrize("transport", ["websocket", "http"])
def test_a_browser_has_the_frames_of_a_study(page: tuple[Browser, str, str], transport: str) -> None:
    """Every frame, whole, with what it is of; from the primary index outward."""
    script = """
    const stream = await StreamClient.connect(options.url, options);
    const request = await stream.open(asked);
    const frames = [];
    for await (const each of stream) {
      frames.push([each.position, each.sopInstanceUid, each.frameNumber, value(each), each.facts.rows]);
    }
    return { frames, count: request.frames, hasEnded: request.hasEnded, missing: request.missing };
    """
    found = run(page, script, transport, study=STUDY, primary=20)

    wanted = [[n, slice_uid(n + 1), 1, n + 1, 64] for n in range(40)]
    wanted += [[40 + n, f"{VOLUME}.1", n + 1, n + 1, 64] for n in range(30)]
    assert sorted(found["frames"]) == wanted
    assert [frame[0] for frame in found["frames"][:5]] == [20, 21, 19, 22, 18]
    assert (found["count"], found["hasEnded"], found["missing"]) == (70, True, [])


@pytest.mark.parametrize("transport", ["websocket", "http"])
def test_a_browser_moves_weighs_pauses_and_cancels(page: tuple[Browser, str, str], transport: str) -> None:
    """With a window of two frames the server cannot run ahead of what is said."""
    script = """
    const stream = await StreamClient.connect(options.url, { ...options, window: 16384 });
    const { there, ...wanted } = asked;
    const request = await stream.open({ ...wanted, order: 'forward' });
    const other = await stream.open({ ...wanted, paused: true });
    const seen = [], others = [];
    for await (const each of stream) {
      (each.request === request ? seen : others).push(each.position);
      if (seen.length === 5 && others.length === 0) {
        await stream.move(request, { instance: there, frame: 1 });
        await stream.weigh(other, 5);
      }
      if (request.hasEnded === false && seen.length === 20 && others.length === 0) await stream.resume(other);
      if (others.length === 3) await stream.cancel(other);
    }
    return { seen, others, hasEnded: other.hasEnded };
    """
    found = run(page, script, transport, study=STUDY, series=SLICES, there=slice_uid(31))

    assert found["seen"][:5] == [0, 1, 2, 3, 4]
    assert 30 in found["seen"][5:9], found["seen"]
    assert sorted(found["seen"]) == [*range(40)]
    assert 3 <= len(found["others"]) < 20
    assert found["hasEnded"]


@pytest.mark.parametrize("transport", ["websocket", "http"])
def test_a_browser_hears_what_is_refused(page: tuple[Browser, str, str], transport: str) -> None:
    """The status and the words; the other request goes on."""
    script = """
    const stream = await StreamClient.connect(options.url, options);
    await stream.open({ study: '1.2.3' });
    await stream.open({ study: asked.study, series: asked.series });
    let refused = null, count = 0;
    while (true) {
      try {
        for await (const each of stream) count += 1;
        return { refused, count };
      } catch (error) {
        if (!(error instanceof StreamRefused)) throw error;
        refused = [error.status, error.requestId, error.message];
      }
    }
    """
    found = run(page, script, transport, study=STUDY, series=VOLUME)

    assert found["refused"][:2] == [404, 1]
    assert "1.2.3" in found["refused"][2]
    assert found["count"] == 30


@pytest.mark.parametrize("transport", ["websocket", "http"])
def test_a_wrong_token_opens_nothing(page: tuple[Browser, str, str], transport: str) -> None:
    """A browser does not tell scripts why a handshake failed; over HTTP it is 401."""
    script = """
    try {
      const stream = await StreamClient.connect(options.url, { ...options, token: 'wrong' });
      await stream.open(asked);
      for await (const each of stream) return 'a frame';
    } catch (error) {
      return [error.name, error.status ?? 0];
    }
    """
    assert run(page, script, transport, study=STUDY) in (["StreamEnded", 0], ["StreamRefused", 401])


def test_a_page_that_is_not_let_in_has_no_stream(page: tuple[Browser, str, str]) -> None:
    """Same browser, same token, another origin: the handshake is refused, and so is the request."""
    browser, _, origin = page
    with pages(MODULES) as stranger:
        browser.go(f"{stranger}/streams.js")
        script = """
        try {
          const stream = await StreamClient.connect(options.url, options);
          await stream.open(asked);
          for await (const each of stream) return 'a frame';
        } catch (error) {
          return error.name;
        }
        """
        names = {transport: run(page, script, transport, study=STUDY) for transport in ("websocket", "http")}
    browser.go(f"{origin}/streams.js")

    assert names == {"websocket": "StreamEnded", "http": "TypeError"}
