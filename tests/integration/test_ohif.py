"""OHIF in a real browser. Its package is 50 MB of somebody else's: RELAY_OHIF_PACKAGE names it where it is at hand."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from archive import Archive
from streamer.viewer.ohif_install import install
from tests.support.archive import pydicom_file, request_for
from tests.support.browser import running_browser
from tests.support.streamer import running_streamer
from tests.support.viewer import instance

PACKAGE = os.environ.get("RELAY_OHIF_PACKAGE")
# The largest canvas, which shows the series; thumbnails are images.
_DRAWN = (
    "(() => { const each = [...document.querySelectorAll('canvas')].sort((a, b) => b.width * b.height - a.width * a.height)[0];"
    "const at = each?.getBoundingClientRect(); return at && at.width > 200 ? [at.x, at.y, at.right, at.bottom] : null })()"
)


@pytest.mark.skipif(PACKAGE is None, reason="RELAY_OHIF_PACKAGE does not name the npm package of OHIF")
def test_ohif_lists_and_shows_a_study_from_this_server_alone(tmp_path: Path) -> None:
    """The list has the patient, the viewport an image; nothing is asked of another server."""
    ds = instance(dcmread(pydicom_file("CT_small.dcm")), study="1.2.3", number=1, description="Slice")
    ds.save_as(tmp_path / "ct.dcm")
    with closing(Archive.open(tmp_path / "archive")) as archive:
        archive.store([request_for(tmp_path / "ct.dcm")])
    assert PACKAGE is not None
    install(tmp_path / "viewers", Path(PACKAGE))

    with running_streamer(tmp_path) as server, running_browser() as browser:
        base = str(server.base_url).rstrip("/")
        browser.go(f"{base}/ohif/")
        browser.wait("document.body.innerText.includes('Doe, Jane')")
        browser.go(f"{base}/ohif/viewer?StudyInstanceUIDs=1.2.3")
        left, top, right, bottom = (round(edge) for edge in browser.wait(_DRAWN))
        browser.wait("document.body.innerText.includes('Slice')")
        screenshots = os.environ.get("RELAY_SCREENSHOTS")
        for _ in range(100):
            seen = browser.screenshot(Path(screenshots) / "ohif.png" if screenshots else None)[
                top:bottom, left:right
            ]
            if len(np.unique(seen)) > 60:
                break
            browser.run("return new Promise((done) => setTimeout(done, 100))")
        asked = browser.run("return performance.getEntriesByType('resource').map((each) => each.name)")

        assert len(np.unique(seen)) > 60, "no image was drawn"
        assert [each for each in asked if not each.startswith((f"{base}/", "data:", "blob:"))] == []
        refused = [each for each in browser.messages() if "Content Security Policy" in each]
        assert refused == []
