"""The viewer in a real browser: what is seen of every kind of pixels, by hand and by key, and that nothing leaves this server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import httpx
import imagecodecs
import numpy as np
import pytest
from pydicom import Dataset, dcmread

from archive import Archive
from tests.support.archive import pydicom_file, request_for
from tests.support.browser import WITHOUT_WEBGL, Browser, running_browser
from tests.support.streamer import running_streamer
from tests.support.viewer import (
    blocks,
    compressed,
    dark_high,
    image_on,
    instance,
    many_frames,
    shown_by_pydicom,
)

STUDY = "1.2.826.0.1.3680043.8.498.6"
FILES = (
    "CT_small.dcm", "MR_small_RLE.dcm", "MR_small_bigendian.dcm", "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm",
    "JPEGLSNearLossless_08.dcm", "693_J2KI.dcm", "J2K_pixelrep_mismatch.dcm", "SC_jpeg_no_color_transform.dcm",
    "SC_rgb_dcmtk_+eb+cr.dcm", "SC_rgb_dcmtk_+eb+cy+np.dcm", "SC_ybr_full_422_uncompressed.dcm", "SC_rgb_rle_16bit.dcm",
    "SC_rgb_jls_lossy_sample.dcm", "GDCMJ2K_TextGBR.dcm", "ExplVR_BigEnd.dcm", "examples_palette.dcm", "examples_ybr_color.dcm",
    "examples_overlay.dcm", "image_dfl.dcm", "liver_1frame.dcm", "rtdose_rle.dcm",
)  # fmt: skip
MADE = ("HTJ2K", "HTJ2K colour", "JPEG lossless", "MONOCHROME1", "40 frames")
# Where Chromium has it kept for whoever wants to look: RELAY_SCREENSHOTS=folder.
SCREENSHOTS = os.environ.get("RELAY_SCREENSHOTS")
SIZE = (1100, 700)
STATE = "document.querySelector('.image')?.dataset.state"
TOLERANCE = 8  # of 256: a block's edge lies inside of pixels, and the browser smooths


def made(name: str) -> tuple[Dataset, Dataset]:
    """A data set in a form that no file at hand has, and the one that it was made of."""
    ct, mr, rgb = (
        dcmread(pydicom_file(f"{name}.dcm")) for name in ("CT_small", "MR_small", "examples_rgb_color")
    )
    match name:
        case "HTJ2K":
            return compressed(ct, "1.2.840.10008.1.2.4.201", imagecodecs.htj2k_encode), ct
        case "HTJ2K colour":
            return compressed(
                rgb, "1.2.840.10008.1.2.4.202", partial(imagecodecs.htj2k_encode, tlm=True)
            ), rgb
        case "JPEG lossless":
            packed = compressed(
                mr, "1.2.840.10008.1.2.4.70", lambda array: imagecodecs.ljpeg_encode(array.view(np.uint16))
            )
            return packed, mr
        case "MONOCHROME1":
            return dark_high(ct), dark_high(ct)
    return many_frames(mr, 40), many_frames(mr, 40)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, Dataset]]:
    """By name: the series, and the data set that pydicom can decode."""
    found: dict[str, tuple[str, Dataset]] = {}
    folder = tmp_path_factory.mktemp("viewer")
    requests = []
    for number, name in enumerate([*FILES, *MADE], start=1):
        source, plain = made(name) if name in MADE else (dcmread(pydicom_file(name)),) * 2
        ds = instance(source, study=STUDY, number=number, description=name)
        ds.save_as(folder / f"{number}.dcm")
        requests.append(request_for(folder / f"{number}.dcm"))
        found[name] = ds.SeriesInstanceUID, plain
    evil = instance(dcmread(pydicom_file("CT_small.dcm")), study="1.9", number=1, description="<img src=x>")
    evil.PatientName, evil.PatientID = "<img src>^<b>bold</b>", "<script>alert(2)</script>"
    evil.save_as(folder / "evil.dcm")
    report = instance(dcmread(pydicom_file("reportsi.dcm")), study="1.9", number=2, description="Report")
    report.save_as(folder / "report.dcm")
    broken = instance(dcmread(pydicom_file("MR_truncated.dcm")), study="1.9", number=3, description="Cut")
    broken.save_as(folder / "broken.dcm")
    for number in range(1, 111):
        ds = instance(dcmread(pydicom_file("MR_small.dcm")), study="1.8", number=1, description="Long")
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"1.8.1.{number}"
        ds.InstanceNumber, ds.PatientName, ds.StudyDate = number, "Long^John", "20000101"
        ds.save_as(folder / f"long{number}.dcm")
    requests += [request_for(folder / f"long{number}.dcm") for number in range(1, 111)]
    requests += [request_for(folder / f"{name}.dcm") for name in ("evil", "report", "broken")]
    with closing(Archive.open(folder / "archive")) as archive:
        archive.store(requests)
    found["home"] = str(folder), plain
    return found


@pytest.fixture(scope="module")
def server(expected: dict[str, tuple[str, Dataset]]) -> Iterator[httpx.Client]:
    with running_streamer(Path(expected["home"][0])) as client:
        yield client


@pytest.fixture(scope="module")
def browser(server: httpx.Client) -> Iterator[Browser]:
    with running_browser(size=SIZE) as browser:
        yield browser


def show(browser: Browser, server: httpx.Client, series: str, study: str = STUDY) -> None:
    """Open a series; wait until its first image is there, or words why not. A study that is open stays so."""
    base = str(server.base_url).rstrip("/")
    if browser.run("return location.href").startswith(f"{base}/#/{study}/"):
        browser.run("document.querySelector('dialog')?.close()")
        browser.run("document.querySelector('.image').dataset.state = 'left'")
        browser.run("document.querySelector('.card[data-series=\"' + arguments[0] + '\"]').click()", series)
    else:
        browser.go("about:blank")
        browser.go(f"{base}/#/{study}/{series}")
    browser.wait(f"['shown', 'failed'].includes({STATE})")
    # With it the keys that are pressed next are for the image.
    browser.run("document.querySelector('.image').focus()")


def look(browser: Browser, name: str) -> np.ndarray:
    """The image as it is seen, without the words over it."""
    hide = "for (const each of document.querySelectorAll('.corner, .position')) each.style.visibility = arguments[0]"
    browser.run(hide, "hidden")
    path = Path(SCREENSHOTS) / f"{name}.png" if SCREENSHOTS else None
    seen = image_on(browser, browser.screenshot(path))
    browser.run(hide, "")
    return seen


def words(browser: Browser) -> str:
    """What stands over the image."""
    return str(browser.run("return document.querySelector('.view').innerText"))


def difference(picture: np.ndarray, ds: Dataset, frame_index: int = 0) -> float:
    """The largest difference of a block from what pydicom makes of the frame."""
    return float(np.abs(blocks(picture) - blocks(shown_by_pydicom(ds, frame_index))).max())


@pytest.mark.parametrize("name", [*FILES, *MADE])
def test_every_kind_of_pixels_is_seen_as_pydicom_decodes_it(
    browser: Browser, server: httpx.Client, expected: dict[str, tuple[str, Dataset]], name: str
) -> None:
    """Block by block, through the instance's first window."""
    series, ds = expected[name]

    show(browser, server, series)

    assert browser.run(f"return {STATE}") == "shown", words(browser)
    picture = look(browser, name)
    assert min(picture.shape[:2]) > 100
    # Between few pixels there is much that is neither the one nor the other.
    assert difference(picture, ds) < (TOLERANCE if min(ds.Rows, ds.Columns) > 32 else 20)
    assert "As the server renders it" not in words(browser)


def test_frames_follow_wheel_keys_and_slider(
    browser: Browser, server: httpx.Client, expected: dict[str, tuple[str, Dataset]]
) -> None:
    """Each time the frame that is asked for, and its number."""
    series, ds = expected["40 frames"]
    show(browser, server, series)

    browser.wheel((600, 400), 100)
    browser.wait("document.querySelector('.image').dataset.index === '1'")
    browser.press("\ue00f", "\ue015")  # Page Down, down
    browser.wait("document.querySelector('.image').dataset.index === '12'")
    assert "Frame 13 of 40" in words(browser)
    assert difference(look(browser, "frame 13"), ds, 12) < TOLERANCE
    browser.press("\ue010")  # End
    browser.wait("document.querySelector('.image').dataset.index === '39'")
    assert difference(look(browser, "frame 40"), ds, 39) < TOLERANCE


def test_cine_plays_and_stops(
    browser: Browser, server: httpx.Client, expected: dict[str, tuple[str, Dataset]]
) -> None:
    """At the instance's own rate, from the last to the first again."""
    show(browser, server, expected["40 frames"][0])
    assert browser.run("return document.querySelector('input[type=number]').value") == "50"

    browser.press("\ue010", " ")
    browser.wait("Number(document.querySelector('.image').dataset.index) >= 3")
    browser.wait("Number(document.querySelector('.image').dataset.index) < 39")
    browser.press(" ")
    assert not browser.run(
        "return [...document.querySelectorAll('button.on')].some((each) => each.textContent === 'Play')"
    )


def test_window_preset_invert_and_reset(
    browser: Browser, server: httpx.Client, expected: dict[str, tuple[str, Dataset]]
) -> None:
    """Dragging right makes the window wider; a preset is its figures; I turns light and dark; R is as at first."""
    series, ds = expected["CT_small.dcm"]
    show(browser, server, series)
    first = words(browser)

    browser.drag((600, 400), (700, 400))
    browser.wait(
        "!document.querySelector('.view').innerText.includes(arguments[0])", first.split("Width")[1][:6]
    )
    browser.press("3")  # its window has no name, then all values, then the usual ones of CT
    browser.wait("document.querySelector('.view').innerText.includes('Width')")
    chosen = browser.run("return document.querySelector('select').selectedOptions[0].textContent")
    assert any(name in chosen for name in ("Soft tissue", "Lung", "All values")), chosen
    browser.press("r", "i")
    assert "Inverted" in words(browser)
    inverted = look(browser, "inverted")
    assert float(np.abs(255 - blocks(inverted) - blocks(shown_by_pydicom(ds))).max()) < TOLERANCE
    browser.press("r")
    assert words(browser).split() == first.split() or "Inverted" not in words(browser)
    assert difference(look(browser, "reset"), ds) < TOLERANCE


def test_zoom_and_pan(
    browser: Browser, server: httpx.Client, expected: dict[str, tuple[str, Dataset]]
) -> None:
    """+ enlarges around the middle; the third button moves by what it is dragged."""
    show(browser, server, expected["CT_small.dcm"][0])

    def corners() -> list[float]:
        return [
            float(each)
            for each in browser.run("return document.querySelector('.image').dataset.corners").split(",")
        ]

    before = corners()
    moves = "document.querySelector('.image').dataset.corners !== arguments[0]"
    was = browser.run("return document.querySelector('.image').dataset.corners")
    browser.press("+")
    browser.wait(moves, was)
    larger = corners()
    browser.drag((600, 400), (640, 430), button=1)
    browser.wait(
        "Math.abs(document.querySelector('.image').dataset.corners.split(',')[0] - arguments[0]) > 38",
        larger[0],
    )
    moved = corners()

    assert larger[2] - larger[0] == pytest.approx((before[2] - before[0]) * 1.25, rel=0.01)
    assert moved[0] - larger[0] == pytest.approx(40, abs=2)
    assert moved[1] - larger[1] == pytest.approx(30, abs=2)


def test_the_list_is_searched_and_leads_to_a_study(browser: Browser, server: httpx.Client) -> None:
    """What is typed is in no address; thumbnails are drawn."""
    browser.go("about:blank")
    browser.go(f"{server.base_url}/")
    browser.wait("document.querySelectorAll('.list tbody tr').length === 3")
    browser.screenshot(Path(SCREENSHOTS) / "list.png" if SCREENSHOTS else None)
    browser.run(
        "document.querySelector('[name=name]').value = arguments[0]; document.querySelector('form').requestSubmit()",
        "jane doe",
    )
    browser.wait("document.querySelector('.hint')?.textContent === 'No study matches.'")
    browser.run(
        "document.querySelector('[name=name]').value = arguments[0]; document.querySelector('form').requestSubmit()",
        "oe, jan",
    )
    browser.wait("document.querySelectorAll('.list tbody tr').length === 1")
    assert "jane" not in browser.run("return location.href")

    browser.run("document.querySelector('.list a').click()")
    browser.wait(f"{STATE} === 'shown'")
    browser.wait(
        "[...document.querySelectorAll('.card canvas')].slice(0, 3)"
        ".every((each) => ['shown', 'made'].includes(each.dataset.state))"
    )
    browser.screenshot(Path(SCREENSHOTS) / "study.png" if SCREENSHOTS else None)
    drawn = browser.run(
        "const each = document.querySelector('.card canvas');"
        "return Math.max(...each.getContext('2d').getImageData(0, 0, each.width, each.height).data.filter((_, at) => at % 4 < 3))"
    )
    assert drawn > 100


def test_a_search_that_is_slow_tells_nothing_after_a_later_one(
    browser: Browser, server: httpx.Client
) -> None:
    """The list belongs to the words that stand above it."""
    browser.go("about:blank")
    browser.go(f"{server.base_url}/")
    browser.wait("document.querySelectorAll('.list tbody tr').length === 3")
    browser.run(
        "const before = window.fetch; window.late = 0; window.fetch = async (url, ...more) => {"
        " const answer = await before(url, ...more);"
        " if (String(url).includes('nobody')) {"
        " await new Promise((go) => setTimeout(go, 500)); setTimeout(() => window.late++, 100); }"
        " return answer; };"
        "const search = (words) => { document.querySelector('[name=name]').value = words;"
        " document.querySelector('form').requestSubmit(); };"
        "search('nobody'); search('Long');"
    )
    browser.wait("window.late === 1")

    assert browser.run("return document.querySelectorAll('.list tbody tr').length") == 1


def test_every_field_of_the_search_narrows_it(browser: Browser, server: httpx.Client) -> None:
    """Words anywhere in a name; several modalities; the accession number. The newest study comes first."""
    browser.go("about:blank")
    browser.go(f"{server.base_url}/")
    browser.wait("document.querySelectorAll('.list tbody tr').length === 3")
    found = {
        ("name", "ong oh"): 1,
        ("name", "ong, jo"): 1,
        ("modality", "sr"): 1,
        ("modality", "sr, ct"): 2,
        ("accession", "there is none"): 0,
    }
    for (name, typed), count in found.items():
        browser.run(
            "for (const each of document.querySelectorAll('.search input')) each.value = '';"
            "document.querySelector(`[name=${arguments[0]}]`).value = arguments[1];"
            "document.querySelector('.list').dataset.state = 'left'; document.querySelector('form').requestSubmit()",
            name,
            typed,
        )
        browser.wait("document.querySelector('.list').dataset.state === 'shown'")
        rows = browser.run("return document.querySelectorAll('.list tbody tr').length")
        assert (name, typed, rows) == (name, typed, count)
    browser.run(
        "[...document.querySelectorAll('button')].find((each) => each.textContent === 'Clear').click()"
    )
    browser.wait("document.querySelectorAll('.list tbody tr').length === 3")
    assert "Long John" in browser.run("return document.querySelector('.list tbody tr:last-child').innerText")


def test_one_set_of_graphics_lasts_for_many_studies(browser: Browser, server: httpx.Client) -> None:
    """Browsers have few WebGL contexts; going on and back makes no more."""
    browser.go("about:blank")
    browser.go(f"{server.base_url}/")
    browser.run(
        "window.contexts = 0; for (const kind of [HTMLCanvasElement, OffscreenCanvas]) {"
        " const before = kind.prototype.getContext; kind.prototype.getContext = function (name, ...more) {"
        " if (String(name).startsWith('webgl') && !this.counted) { this.counted = true; window.contexts++; }"
        " return before.call(this, name, ...more); }; }"
    )
    counts = []
    for study, series in ((STUDY, f"{STUDY}.1"), ("1.9", "1.9.1"), (STUDY, f"{STUDY}.2"), ("1.9", "1.9.1")):
        browser.run("location.hash = arguments[0]", f"#/{study}/{series}")
        browser.wait(
            f"document.querySelector('.card.on')?.dataset.series === '{series}' && {STATE} === 'shown'"
        )
        counts.append(browser.run("return window.contexts"))

    assert counts[1:] == counts[:1] * 3


def test_a_page_with_a_password_in_its_address_works(browser: Browser, server: httpx.Client) -> None:
    """As links of other programs have it; workers and what they fetch too."""
    browser.go("about:blank")
    base = str(server.base_url).rstrip("/").replace("://", "://user:password@")
    browser.go(f"{base}/#/{STUDY}/{STUDY}.9")
    browser.wait(f"['shown', 'failed'].includes({STATE})")

    assert browser.run(f"return {STATE}") == "shown", words(browser)


def test_a_long_series_is_shown_before_all_of_it_is_known(browser: Browser, server: httpx.Client) -> None:
    """Its first image; a key that is pressed meanwhile counts once the rest is there."""
    browser.go("about:blank")
    browser.go(f"{server.base_url}/")
    # The metadata of the series waits until it is let go.
    browser.run(
        "const before = window.fetch; window.fetch = async (...asked) => {"
        " if (String(asked[0]).endsWith('/series/1.8.1/metadata'))"
        " await new Promise((go) => (window.go = go)); return before(...asked); }"
    )
    browser.run("location.hash = '#/1.8/1.8.1'")
    browser.wait(f"{STATE} === 'shown'")
    assert "The first image; the others follow" in words(browser)
    browser.run("document.querySelector('.image').focus()")
    browser.press("\ue010", "\ue013")  # End, up
    browser.run("window.go()")
    browser.wait("document.querySelector('.image')?.dataset.index === '108'")
    assert "Image 109 of 110" in words(browser)


def test_metadata_is_a_table_that_can_be_searched(
    browser: Browser, server: httpx.Client, expected: dict[str, tuple[str, Dataset]]
) -> None:
    """Names from the standard's dictionary; the search takes tag, name and value."""
    show(browser, server, expected["CT_small.dcm"][0])

    browser.press("m")
    browser.wait("document.querySelectorAll('dialog tbody tr').length > 50")
    browser.run(
        "const each = document.querySelector('dialog input'); each.value = 'kvp'; each.dispatchEvent(new Event('input'))"
    )
    assert browser.run("return document.querySelector('dialog tbody').innerText").split() == [
        "(0018,0060)",
        "KVP",
        "DS",
        "120",
    ]
    browser.screenshot(Path(SCREENSHOTS) / "metadata.png" if SCREENSHOTS else None)


def test_an_instance_is_downloaded(
    browser: Browser, server: httpx.Client, expected: dict[str, tuple[str, Dataset]], tmp_path: Path
) -> None:
    """The bytes of the route, under a name with the UID and nothing of the patient."""
    series = expected["CT_small.dcm"][0]
    show(browser, server, series)
    browser.command("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))

    browser.run(
        "const menu = document.querySelector('[aria-label=Download]'); menu.value = 'instance';"
        "menu.dispatchEvent(new Event('change'))"
    )
    target = tmp_path / f"{series}.1.dcm"
    url = f"/studies/{STUDY}/series/{series}/instances/{series}.1"
    whole = server.get(url, headers={"accept": "application/dicom"}).content
    browser.wait("true")
    for _ in range(200):
        if target.exists() and target.stat().st_size == len(whole):
            break
        browser.run("return new Promise((done) => setTimeout(done, 50))")

    assert target.read_bytes() == whole


def test_what_is_no_image_or_broken_is_said_in_words(browser: Browser, server: httpx.Client) -> None:
    """A report, a file cut short, a study that is not there, an address that is none; and markup stays text."""
    show(browser, server, "1.9.2", "1.9")
    assert "There are no images in this series (SR)" in words(browser)
    show(browser, server, "1.9.3", "1.9")
    assert "whole" in words(browser), words(browser)
    show(browser, server, "1.9.1", "1.9")
    assert browser.run("return document.querySelector('.who strong').textContent") == "<img src> <b>bold</b>"
    assert browser.run("return document.querySelectorAll('img, b, .who script').length") == 0
    for address, said in (("1.2.3.4", "not in the archive"), ("1.2/../3", "nothing at this address")):
        browser.go("about:blank")
        browser.go(f"{server.base_url}/#/{address}")
        browser.wait("document.body.innerText.includes(arguments[0])", said)


def test_nothing_is_asked_of_anybody_else(
    browser: Browser, server: httpx.Client, expected: dict[str, tuple[str, Dataset]]
) -> None:
    """Every resource is this server's, nothing of a study is kept, and the policy is broken nowhere."""
    browser.messages()
    show(browser, server, expected["HTJ2K"][0])

    asked = browser.run("return performance.getEntriesByType('resource').map((each) => each.name)")
    assert len(asked) > 5
    assert [
        each
        for each in asked
        if not each.startswith((f"{str(server.base_url).rstrip('/')}/", "data:", "blob:"))
    ] == []
    # Cornerstone keeps what the graphics can do, and how much it logs.
    kept = browser.run("return JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])")
    assert not [word for word in (STUDY, "Doe", "4711", "studies/") if word in kept], kept
    complaints = [
        each
        for each in browser.messages()
        if "Content Security Policy" in each or "NAME_NOT_RESOLVED" in each
    ]
    assert complaints == []


def test_without_webgl_the_processor_draws(
    server: httpx.Client, expected: dict[str, tuple[str, Dataset]]
) -> None:
    """The same pictures: 16 bits, 32 bits, colour, dark where it is high."""
    with running_browser(size=SIZE, arguments=WITHOUT_WEBGL) as browser:
        for name in ("CT_small.dcm", "rtdose_rle.dcm", "SC_rgb_dcmtk_+eb+cy+np.dcm", "MONOCHROME1"):
            series, ds = expected[name]
            show(browser, server, series)

            assert browser.run(f"return {STATE}") == "shown", words(browser)
            assert difference(look(browser, f"{name} without WebGL"), ds) < TOLERANCE, name
