"""Our pages of Flower in a real browser: alive without flicker, by keyboard, and with what a screen reader needs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicomrelay.ledger import Ledger
from dicomrelay.ledger.migrate import migrate
from dicomrelay.runtime import home
from dicomrelay.settings import MonitorSettings, Settings
from tests.support.browser import WITHOUT_WEBGL, Browser, running_browser
from tests.support.ledger import PACS, arrival, group
from tests.support.monitor import running_monitor

_ENTER, _TAB = "\ue007", "\ue004"
_STUDY = "1.2.1"
# What has no name, no heading or no header for who does not see it.
_UNNAMED = """
  const nameless = [...document.querySelectorAll('main a, main button, main input:not([type=hidden]), main select, nav a')]
    .filter(each => !(each.innerText || each.textContent || '').trim() && !each.getAttribute('aria-label')
      && !(each.labels && each.labels.length));
  const headers = [...document.querySelectorAll('main th:not([scope])')];
  const pictures = [...document.querySelectorAll('main svg[role=img]:not([aria-label])')];
  const ids = [...document.querySelectorAll('[id]')].map(each => each.id);
  return [nameless, headers, pictures].flat().map(each => each.outerHTML.slice(0, 120))
    .concat(ids.filter((id, at) => ids.indexOf(id) !== at))
    .concat(document.querySelectorAll('main').length === 1 ? [] : ['not one main'])
    .concat(document.querySelectorAll('main h1').length === 1 ? [] : ['not one h1'])
    .concat(document.querySelector('nav [aria-current=page]') ? [] : ['the page is not marked in the navigation']);
"""
# Of text and what is behind it, the contrast (WCAG 2.1, 1.4.3), of all text of our page; those under 4.5.
_CONTRAST = """
  const light = colour => {
    const [r, g, b] = colour.map(v => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const parts = text => (text.match(/[0-9.]+/g) || [0, 0, 0, 0]).map(Number);
  const behind = node => {
    for (let at = node; at; at = at.parentElement) {
      const [r, g, b, a = 1] = parts(getComputedStyle(at).backgroundColor);
      if (a > 0.9) return [r, g, b];
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll('.relay-page *')].filter(each => each.offsetParent && [...each.childNodes].some(
      child => child.nodeType === 3 && child.nodeValue.trim()))
    .map(each => { const [a, b] = [light(parts(getComputedStyle(each).color).slice(0, 3)), light(behind(each))];
      return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), each.outerHTML.slice(0, 100)]; })
    .filter(([ratio]) => ratio < 4.5).map(String);
"""
# What one would have to scroll sideways for; and tables that are none for who hears them.
_CUT = """
  return [...document.querySelectorAll('.relay-page .table-responsive, .relay-page .relay-chart')]
    .filter(each => each.scrollWidth > each.clientWidth).map(each => each.outerHTML.slice(0, 120))
    .concat([...document.querySelectorAll('.relay-page table, .relay-page tr, .relay-page td, .relay-page th')]
      .filter(each => !each.getAttribute('role')).map(each => each.outerHTML.slice(0, 120)));
"""


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    found = Settings(
        home=tmp_path_factory.mktemp("home"),
        monitor=MonitorSettings.model_validate({"user": "anna", "password": "pw"}),
    )
    found.path("db").mkdir()
    migrate(home.ledger_url(found))
    return found


@pytest.fixture(scope="module")
def ledger(settings: Settings) -> Iterator[Ledger]:
    opened = Ledger.open(home.ledger_url(settings))
    opened.sync_destinations([PACS])
    opened.register([arrival(number) for number in range(3)])
    group(opened)
    yield opened
    opened.dispose()


@pytest.fixture(scope="module")
def browser(settings: Settings, ledger: Ledger) -> Iterator[Browser]:
    assert ledger.studies()
    with running_monitor(settings) as base, running_browser(arguments=WITHOUT_WEBGL) as found:
        found.go(f"{base.replace('http://', 'http://anna:pw@')}/transfers")
        # It lives also where the address has the password in it.
        found.run("document.getElementById('total-waiting').textContent = 'old'")
        found.wait("document.getElementById('total-waiting').textContent === '3'")
        yield found


def _path(browser: Browser, path: str) -> None:
    browser.go(browser.run("return location.origin") + path)
    browser.wait("document.getElementById('relay-live-words')?.textContent === 'Live'")


def test_a_page_lives_and_leaves_alone_what_is_as_it_was(browser: Browser, ledger: Ledger) -> None:
    """New figures stand in the same cells; what has the focus keeps it, what is selected stays so."""
    _path(browser, "/transfers")
    browser.run(
        """const row = document.querySelector('#destinations tr[data-key=pacs]'); row.mark = 1;
        row.querySelector('button').focus(); getSelection().selectAllChildren(row.querySelector('th a'));
        window.added = 0; new MutationObserver(all => all.forEach(each => { window.added += each.addedNodes.length; }))
          .observe(document.getElementById('destinations'), {childList: true, subtree: true});"""
    )
    ledger.register([arrival(number) for number in range(10, 20)])
    group(ledger)
    cell = "document.querySelector('#destinations tr[data-key=pacs] td:nth-child(3)')"
    browser.wait(f"{cell}.innerText.startsWith('13')")
    assert browser.run(
        """const row = document.querySelector('#destinations tr[data-key=pacs]');
        return [row.mark, document.activeElement === row.querySelector('button'), String(getSelection()), window.added];"""
    ) == [1, True, "pacs", 0]
    assert browser.messages() == []


def test_a_button_is_pressed_by_keyboard_and_what_came_of_it_has_the_focus(
    browser: Browser, ledger: Ledger
) -> None:
    """In words that are told, on the page that one was on."""
    _path(browser, "/transfers")
    browser.run("document.querySelector('tr[data-key=pacs] button').focus()")
    browser.press(_ENTER)
    browser.wait("document.activeElement?.id === 'said'")
    assert "pacs is held" in browser.run("return document.getElementById('said').innerText")
    assert browser.run("return document.querySelector('[role=status] #said') !== null")
    assert browser.run("return location.pathname + location.search + location.hash") == "/transfers"
    assert ledger.operations.stopped()[0].held_for_ms is not None
    browser.wait("document.querySelector('tr[data-key=pacs] button').innerText.startsWith('Release')")
    browser.run("document.querySelector('tr[data-key=pacs] button').focus()")
    browser.press(_ENTER)
    browser.wait("document.getElementById('said')?.innerText.includes('pacs is released')")
    assert ledger.operations.stopped() == ()
    assert browser.messages() == []


@pytest.mark.long
def test_what_is_unfolded_stays_so_while_the_page_lives(browser: Browser, ledger: Ledger) -> None:
    """And what one has ticked; to cancel is unfolded first."""
    _path(browser, f"/studies/{_STUDY}")
    assert not browser.run("return document.querySelector('button.btn-danger').checkVisibility()")
    browser.run("document.querySelectorAll('details.relay-details')[1].open = true")
    browser.run("document.querySelector('input[name=again]').click()")
    ledger.register([arrival(number) for number in range(30, 32)])
    browser.wait("document.body.innerText.includes('15 instances of 1 series')")
    assert browser.run(
        "return [document.querySelectorAll('details.relay-details')[1].open, document.querySelector('input[name=again]').checked]"
    ) == [True, True]
    assert browser.messages() == []


@pytest.mark.long
def test_paused_it_changes_nothing(browser: Browser, ledger: Ledger) -> None:
    """Until it goes on."""
    _path(browser, "/studies")
    browser.run("document.getElementById('relay-pause').click()")
    browser.wait("document.getElementById('relay-live-words').textContent === 'Paused'")
    ledger.register([arrival(90, study_instance_uid="1.2.90", series_instance_uid="1.2.90.1")])
    browser.run("return new Promise(done => setTimeout(done, 3500))")
    assert "1.2.90" not in browser.run("return document.body.innerText")
    browser.run("document.getElementById('relay-pause').click()")
    browser.wait("document.body.innerText.includes('1.2.90')")


@pytest.mark.parametrize("theme", ["light", pytest.param("dark", marks=pytest.mark.long)])
def test_pages_can_be_read_by_who_sees_little_or_nothing(
    browser: Browser, theme: str, tmp_path: Path
) -> None:
    """Names, headers, landmarks; contrast in light and in dark; the first stop of the keyboard leads to the content."""
    browser.run(f"localStorage.setItem('flower-theme', '{theme}')")
    for page in ("/transfers", "/transfers/pacs", "/studies", f"/studies/{_STUDY}", "/attention"):
        _path(browser, page)
        assert browser.run(_UNNAMED) == [], page
        assert browser.run(_CONTRAST) == [], page
        picture = browser.screenshot(tmp_path / f"{theme}{re.sub('[^a-z]', '-', page)}.png")
        assert (picture.mean() > 128) == (theme == "light")
    browser.press(_TAB)
    assert browser.run("return document.activeElement.className") == "skip-link"
    assert browser.messages() == []


def test_on_a_narrow_screen_everything_is_there(browser: Browser) -> None:
    """No page is wider than a telephone; each figure stands beside what it is, and a table is still one."""
    browser.command(
        "Emulation.setDeviceMetricsOverride", width=400, height=800, deviceScaleFactor=1, mobile=False
    )
    try:
        for page in (f"/studies/{_STUDY}", "/transfers/pacs", "/transfers"):
            _path(browser, page)
            assert browser.run("return document.documentElement.scrollWidth") == 400, page
            assert browser.run(_CUT) == [], page
        labels = browser.run(
            """return [...document.querySelectorAll('#destinations [data-key=pacs] td')]
              .map(each => getComputedStyle(each, '::before').content)"""
        )
        assert labels[:3] == ['"State"', '"Waiting"', '"Oldest"']
    finally:
        browser.command("Emulation.clearDeviceMetricsOverride")


@pytest.mark.long
@pytest.mark.parametrize("page", ["/workers", "/tasks"])
def test_the_pages_of_flower_work_under_our_policy(browser: Browser, page: str) -> None:
    """Their scripts run, and nothing is wanted from elsewhere."""
    browser.go(browser.run("return location.origin") + page)
    browser.wait("document.querySelector('.dataTables_wrapper') !== null")
    assert browser.messages() == []
