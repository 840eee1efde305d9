"""Asks an archive's index, and nothing else.

Usage: python -m benchmarks.ask_archive INDEX_URL QUESTION COUNT SEED RESULT     (writes milliseconds, one a question, as JSON)
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from datetime import timedelta
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Final, TypeAlias

from archive.attributes import Level
from archive.index.database import open_database
from archive.index.search import SearchQuery, scan, search
from archive.index.selecting import select_instances
from archive.index.statistics import statistics
from archive.values import Selection
from benchmarks.archive_index import DAYS, FIRST_DAY, GIVEN, SURNAMES
from dicomrelay.ledger.engine import Database

Ask: TypeAlias = Callable[[Database, random.Random], None]
_PATIENTS_OF: Final = 9000
_SHOWN: Final = ("Thorax*", "T2*", "*cor*", "Localizer", "ch?st*")


def _name_beginning(choose: random.Random) -> dict[str, str]:
    return {"PatientName": f"{choose.choice(SURNAMES)[: choose.randint(1, 5)].upper()}*"}


def _name_anywhere(choose: random.Random) -> dict[str, str]:
    return {"PatientName": f"*{choose.choice([*SURNAMES, *GIVEN])[1:5].lower()}*"}


def _patient_id(choose: random.Random) -> dict[str, str]:
    return {"PatientID": f"P{choose.randrange(1, _PATIENTS_OF):07d}"}


def _patient_id_pattern(choose: random.Random) -> dict[str, str]:
    return {"PatientID": f"p{choose.randrange(1, _PATIENTS_OF):07d}"[: choose.randint(5, 7)] + "*"}


def _dates(choose: random.Random) -> dict[str, str]:
    first = FIRST_DAY + timedelta(days=choose.randrange(DAYS))
    last = first + timedelta(days=choose.choice((0, 7, 30, 365)))
    return {"StudyDate": f"{first:%Y%m%d}-{last:%Y%m%d}"}


def _modality(choose: random.Random) -> dict[str, str]:
    return {"Modality": choose.choice(("CR", "CT", "MR", "PT", "SR", "XA"))}


def _together(choose: random.Random) -> dict[str, str]:
    return {**_name_beginning(choose), **_dates(choose), **_modality(choose)}


def _description(choose: random.Random) -> dict[str, str]:
    return {"SeriesDescription": choose.choice(_SHOWN)}


def _searching(
    level: Level, matches: Callable[[random.Random], dict[str, str]], *, fuzzy: bool = False
) -> Ask:
    def ask(database: Database, choose: random.Random) -> None:
        search(database, SearchQuery(level, matches(choose), fuzzy=fuzzy))

    return ask


def _fuzzy_name(choose: random.Random) -> dict[str, str]:
    return {"PatientName": f"{choose.choice(GIVEN)} {choose.choice(SURNAMES)}"}


def _sorted(database: Database, choose: random.Random) -> None:
    by = choose.choice(("PatientName", "-StudyDate", "AccessionNumber", "-NumberOfStudyRelatedInstances"))
    search(database, SearchQuery(Level.STUDY, _dates(choose), sort=(by,)))


def _statistics(database: Database, _: random.Random) -> None:
    statistics(database)


def _scan(database: Database, _: random.Random) -> None:
    for _row in scan(database, SearchQuery(Level.INSTANCE)):
        pass


def _select(database: Database, choose: random.Random) -> None:
    for _stored in islice(select_instances(database, Selection(matches=_modality(choose))), 10_000):
        pass


QUESTIONS: Final[dict[str, Ask]] = {
    "studies by the beginning of a patient's name": _searching(Level.STUDY, _name_beginning),
    "studies by any part of a patient's name": _searching(Level.STUDY, _name_anywhere),
    "studies by a patient's name, fuzzy": _searching(Level.STUDY, _fuzzy_name, fuzzy=True),
    "studies by patient id": _searching(Level.STUDY, _patient_id),
    "studies by a pattern of patient ids": _searching(Level.STUDY, _patient_id_pattern),
    "studies by a range of dates": _searching(Level.STUDY, _dates),
    "studies by modality": _searching(Level.STUDY, _modality),
    "studies by name, dates and modality": _searching(Level.STUDY, _together),
    "studies by a range of dates, sorted": _sorted,
    "patients by the beginning of a name": _searching(Level.PATIENT, _name_beginning),
    "series by description": _searching(Level.SERIES, _description),
    "instances by the beginning of a patient's name": _searching(Level.INSTANCE, _name_beginning),
    "instances by patient id": _searching(Level.INSTANCE, _patient_id),
    "instances by a range of dates": _searching(Level.INSTANCE, _dates),
    "instances by modality": _searching(Level.INSTANCE, _modality),
}
STATISTICS: Final = "statistics"
SCAN: Final = "all instances, read to the end"
SELECT: Final = "10,000 instances of a modality, selected"
OTHERS: Final[dict[str, Ask]] = {STATISTICS: _statistics, SCAN: _scan, SELECT: _select}


def main() -> None:
    """Ask one question after another with other values each time."""
    url, question, count, seed, result = sys.argv[1:]
    ask = {**QUESTIONS, **OTHERS}[question]
    choose = random.Random(int(seed))
    database = open_database(url)
    took = []
    for _ in range(int(count)):
        began = perf_counter()
        ask(database, choose)
        took.append((perf_counter() - began) * 1000)
    database.dispose()
    Path(result).write_text(json.dumps(took), "utf-8")


if __name__ == "__main__":
    main()
