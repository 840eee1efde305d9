"""Entries of [[pulls]] as questions: polls by date, priors for a study, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path

import pytest

from dicomrelay.errors import ConfigurationError
from dicomrelay.ledger.values import Priority
from dicomrelay.ledger.values_pulls import NewPull, PollState, PriorsRule, PullKind, Retrieval
from dicomrelay.routing.pulls import PriorsWanted, by_hand, check_pulls, check_question, order_priors, poll
from dicomrelay.settings import Settings, load
from workers.pull_worklist import usable

TODAY = date(2026, 3, 10)
_SOURCE = '[[destinations]]\nname = "old"\nae_title = "OLD"\nhost = "10.0.0.9"\n'


def settings(folder: Path, *entries: str) -> Settings:
    """With a source, and entries of [[pulls]] of it."""
    tables = "".join(f'[[pulls]]\nsource = "old"\n{entry}\n' for entry in entries)
    (folder / "relay.toml").write_text(_SOURCE + tables, "utf-8")
    return load(home=folder)


@dataclass
class Orders:
    """Notes what is ordered."""

    made: list[NewPull] = field(default_factory=list)

    def order(self, new: NewPull) -> str | None:
        self.made.append(new)
        return f"{len(self.made):032x}"


def known(*day: int) -> PollState:
    return PollState("p", 0, round(1000 * datetime(*day, 23, 30).timestamp()), is_open=False)  # type: ignore[arg-type,misc]  # noqa: DTZ001


def test_the_first_poll_looks_back_so_many_days(tmp_path: Path) -> None:
    """Nothing is known yet."""
    found = settings(tmp_path, 'name = "p"\nevery_s = 60\nfirst_days = 9\nkeys = ["ModalitiesInStudy=CT"]')
    new = poll(found, found.pulls[0], PollState("p", 0, None, is_open=False), TODAY)
    assert new.question == ("ModalitiesInStudy=CT", "StudyDate=20260301-")
    assert (new.kind, new.source.name, new.priority) == (PullKind.POLL, "old", Priority.NORMAL)


def test_a_poll_looks_back_to_the_last_one_and_some_days_more(tmp_path: Path) -> None:
    """An outage of weeks is made up for; a clock that went back looks no less far."""
    found = settings(tmp_path, 'name = "p"\nevery_s = 60\noverlap_days = 2')
    entry = found.pulls[0]
    assert poll(found, entry, known(2026, 3, 10), TODAY).question == ("StudyDate=20260308-",)
    assert poll(found, entry, known(2026, 1, 1), TODAY).question == ("StudyDate=20251230-",)
    assert poll(found, entry, known(2026, 3, 20), TODAY).question == ("StudyDate=20260308-",)


def test_a_date_of_the_entry_is_meant(tmp_path: Path) -> None:
    """By keyword or tag."""
    found = settings(tmp_path, 'name = "p"\nevery_s = 60\nkeys = ["0008,0020=20250101-20250131"]')
    new = poll(found, found.pulls[0], known(2026, 3, 10), TODAY)
    assert new.question == ("0008,0020=20250101-20250131",)


def test_a_person_asks_with_the_keys_of_an_entry_and_some_more(tmp_path: Path) -> None:
    """Its policy is the entry's."""
    found = settings(
        tmp_path, 'name = "p"\nkeys = ["ModalitiesInStudy=CT"]\nretrieve = "get"\nlimit = 7\nassociations = 3'
    )
    new = by_hand(found, found.pulls[0], ["PatientID=1"])
    assert new.question == ("ModalitiesInStudy=CT", "PatientID=1")
    assert (new.policy.retrieval, new.policy.limit, new.policy.associations) == (Retrieval.GET, 7, 3)
    assert (new.kind, new.name) == (PullKind.ASKED, "p")


def test_priors_are_asked_for_by_the_patient_and_chosen_by_the_study(tmp_path: Path) -> None:
    """What the entry does not want shared is not in the rule."""
    found = settings(tmp_path, 'name = "p"\npriority = "urgent"\npriors = { newest = 2, max_age_days = 365 }')
    orders = Orders()
    wanted = PriorsWanted("1.2.9", " 4711 ", "CLINIC", "CT", "HEAD")
    assert order_priors(orders, found, "p", wanted, TODAY)
    (new,) = orders.made
    assert new.question == ("PatientID=4711", "StudyDate=20250310-")
    assert new.priors == PriorsRule("1.2.9", "4711", "CLINIC", "CT", "", 2, "20250310")
    assert (new.only_once[:8], new.priority, new.kind) == ("p 1.2.9 ", Priority.URGENT, PullKind.PRIORS)


@pytest.mark.parametrize("patient_id", ["", "  ", "*", "47?1", "4711\\4712"])
def test_nobody_asks_for_the_priors_of_others(tmp_path: Path, patient_id: str) -> None:
    """A wildcard in a Patient ID would match them."""
    found = settings(tmp_path, 'name = "p"\npriors = {}')
    orders = Orders()
    assert order_priors(orders, found, "p", PriorsWanted("1.2.9", patient_id), TODAY) is None
    assert not orders.made


def test_an_entry_without_priors_fetches_none(tmp_path: Path) -> None:
    """The error names those that do."""
    found = settings(tmp_path, 'name = "p"\nkeys = ["PatientID=1"]', 'name = "q"\npriors = {}')
    with pytest.raises(ConfigurationError, match="known: q"):
        order_priors(Orders(), found, "p", PriorsWanted("1.2.9", "4711"), TODAY)


def test_a_key_that_is_none_is_found_before_anything_is_asked(tmp_path: Path) -> None:
    """It names the entry and the key."""
    found = settings(tmp_path, 'name = "p"\nkeys = ["PatientIdd=1"]')
    with pytest.raises(ConfigurationError, match=r"pulls\.p\.keys: .*PatientIdd"):
        check_pulls(found)


def test_a_patient_that_was_corrected_has_priors_of_their_own(tmp_path: Path) -> None:
    """Under the same Study Instance UID; no id stands in what is compared."""
    found, orders = settings(tmp_path, 'name = "p"\npriors = {}'), Orders()
    for patient_id, issuer in (("4711", ""), ("4712", ""), ("4711", ""), ("4711", "OTHER")):
        order_priors(orders, found, "p", PriorsWanted("1.2.9", patient_id, issuer), TODAY)
    keys = [each.only_once for each in orders.made]
    assert (len(set(keys)), keys[0] == keys[2]) == (3, True)
    assert not any("471" in key for key in keys)


@pytest.mark.parametrize("source", ["X@h:99999", "X@a..b:104", "X@[h]:104"])
def test_a_source_that_is_no_address_is_found_before_anything_is_asked(tmp_path: Path, source: str) -> None:
    """It passes the settings' form; its entry is left out, and no other."""
    (tmp_path / "relay.toml").write_text(
        f'[[pulls]]\nname = "p"\nsource = "{source}"\n[[pulls]]\nname = "q"\nsource = "OLD@h:104"\n', "utf-8"
    )
    found = load(home=tmp_path)
    with pytest.raises(ConfigurationError, match=r"pulls\.p\.source: "):
        check_pulls(found)
    assert [entry.name for entry in usable(found)] == ["q"]


@pytest.mark.parametrize(
    ("key", "words"),
    [("StudyDate=2026-01-01", "a date is YYYYMMDD"), ("StudyInstanceUID=1.2\\abc", "'abc' is no UID")],
)
def test_what_no_source_can_answer_is_not_asked(key: str, words: str) -> None:
    """Of all values that a person may have written."""
    with pytest.raises(ConfigurationError, match=words):
        check_question([key])
    check_question(["StudyDate=20260101-", "StudyInstanceUID=1.2\\1.3", "PatientName=*", "Modality"])


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ('name = "old"', "is a destination"),
        ('name = "p"\nevery_s = 60\npriors = {}', "choose one"),
        ('name = "p"\nevery_s = 60\nsince_last = false', "all that the source has"),
        ('name = "p"\nkeys = ["=1"]', "a key is"),
        ('name = "p"\nwindows = ["25:00-26:00"]', "no time window"),
        ('name = "p"\nevery_s = 1', "every_s"),
        ('name = "p"\nretrieve = "push"', "retrieve"),
    ],
)
def test_entries_that_cannot_be_are_refused(tmp_path: Path, entry: str, words: str) -> None:
    """With what is wrong."""
    with pytest.raises(ConfigurationError, match=words):
        settings(tmp_path, entry)


def test_a_source_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    """And two entries of one name are."""
    (tmp_path / "relay.toml").write_text('[[pulls]]\nname = "p"\nsource = "nobody"\n', "utf-8")
    with pytest.raises(ConfigurationError, match="no destination 'nobody'"):
        load(home=tmp_path)
    with pytest.raises(ConfigurationError, match="stands twice"):
        settings(tmp_path, 'name = "p"', 'name = "p"')
