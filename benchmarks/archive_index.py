"""An index of a million instances, as archives have them: made row by row through the index's own code, without files.

The same seed gives the same index. Studies follow one another, each stored as a whole; their dates are spread over twenty
years; patients come back.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import islice
from pathlib import Path
from typing import Final

from archive.attributes import InstanceAttributes, Value
from archive.index.adding import add_instances
from archive.index.database import open_database
from archive.index.entries import NewInstance
from archive.layout import Layout
from archive.values import StoreRequest
from dicomrelay.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN
from dicomrelay.ledger.engine import Work

SEED: Final = 20_261_121
FIRST_DAY: Final = date(2006, 1, 1)
DAYS: Final = 7300
_SURNAMES: Final = (
    "Smith Johnson Doe Doering Brown Meyer Maier Müller Schmidt Schmitt Weber Wagner Becker Hoffmann Koch Richter "
    "Klein Wolf García Rodríguez Martínez López Rossi Russo Ferrari Esposito Dubois Moreau Laurent Lefèvre Nowak "
    "Kowalski Wiśniewski Novák Horváth Nagy Andersson Johansson Hansen Nielsen Virtanen Korhonen Papadopoulos Yılmaz "
    "Kaya Ivanov Petrov Kim Lee Park Chen Wang Li Zhang Nguyen Tran Sato Suzuki Takahashi Tanaka Yamada Silva Santos "
    "Oliveira Souza Khan Singh Kumar Sharma Patel Okafor Mensah Abdullah Haddad Cohen Levi Murphy Kelly O'Brien "
    "Campbell Stewart Thomson Anderson Taylor Wilson Davies Evans Thomas Roberts Walker Wright Hughes Edwards"
)
_GIVEN: Final = (
    "Anna Maria John James Robert Michael David Peter Thomas Jürgen Klaus Karl Carl Sofía José Luis Marco Luca Giulia "
    "Chloé Émile Jean Zofia Jakub Petra Eva István Erik Lars Aino Nikos Ayşe Mehmet Olga Sergei Minjun Wei Linh Haruto "
    "Yui João Ana Aisha Omar Priya Raj Kwame Miriam Noah Liam Emma Olivia Ava Mia Ella Grace Ruby Alice Rose"
)
SURNAMES: Final = tuple(_SURNAMES.split())
GIVEN: Final = tuple(_GIVEN.split())
# Modality, how many studies of a hundred, (series, instances in each), bytes of an instance, what its series show.
_MIX: Final = (
    ("CR", 33, (1, 2), 8_000_000, ("Chest PA", "Chest lateral", "Hand", "Knee")),
    ("DX", 12, (1, 2), 10_000_000, ("Chest PA", "Pelvis", "Shoulder")),
    ("US", 20, (1, 25), 900_000, ("Abdomen", "Thyroid", "Carotids")),
    ("CT", 17, (3, 60), 525_000, ("Topogram", "Thorax 1.0 Br40", "Abdomen portal venous", "Head 4.0 Hr38")),
    (
        "MR",
        9,
        (6, 25),
        300_000,
        ("Localizer", "T1 SE sag", "T2 TSE tra", "DWI b1000", "FLAIR cor", "T1 gd tra"),
    ),
    ("MG", 5, (4, 1), 27_000_000, ("L CC", "R CC", "L MLO", "R MLO")),
    ("PT", 4, (2, 100), 35_000, ("PET AC", "PET NAC")),
)
_CLASSES: Final = {
    "CR": "1.2.840.10008.5.1.4.1.1.1", "DX": "1.2.840.10008.5.1.4.1.1.1.1", "US": "1.2.840.10008.5.1.4.1.1.6.1",
    "CT": "1.2.840.10008.5.1.4.1.1.2", "MR": "1.2.840.10008.5.1.4.1.1.4", "MG": "1.2.840.10008.5.1.4.1.1.1.2",
    "PT": "1.2.840.10008.5.1.4.1.1.128", "SR": "1.2.840.10008.5.1.4.1.1.88.67",
}  # fmt: skip
_ROOT: Final = "1.2.826.0.1.3680043.8.498"
_A_TRANSACTION: Final = 5000
_COMES_BACK: Final = 0.4
_DATA_SET_OFFSET: Final = 900


@dataclass(frozen=True, slots=True)
class _Patient:
    values: dict[str, Value]


class IndexGenerator:
    """Instances of one archive, one after another, for ever.

    Parameters
    ----------
    seed : int
        The same one gives the same instances.
    """

    def __init__(self, seed: int = SEED) -> None:
        self._random = random.Random(seed)
        self._seed = seed
        self._patients: list[_Patient] = []
        self._studies = 0

    def instances(self) -> Iterator[NewInstance]:
        """All of them; a study is never interrupted by another one."""
        while True:
            yield from self._study()

    def _study(self) -> Iterator[NewInstance]:
        choose = self._random
        self._studies += 1
        uid = f"{_ROOT}.{self._seed}.{self._studies}"
        (modality, _, (series, each), size, shown) = choose.choices(_MIX, [row[1] for row in _MIX])[0]
        day = f"{FIRST_DAY + timedelta(days=choose.randrange(DAYS)):%Y%m%d}"
        study: dict[str, Value] = {
            **self._patient().values,
            "study_date": day,
            "study_time": f"{choose.randrange(7, 19):02d}{choose.randrange(60):02d}00",
            "accession_number": f"A{self._studies:08d}",
            "referring_physician_name": f"{choose.choice(SURNAMES)}^{choose.choice(GIVEN)}^^Dr.",
            "study_description": f"{modality} {choose.choice(shown)}",
            "study_id": str(self._studies),
        }
        for number in range(1, series + 1):
            count = max(1, round(each * choose.uniform(0.5, 1.5))) if each > 1 else 1
            said = study | self._series(modality, day, number, choose.choice(shown))
            yield from self._series_of(uid, modality, number, count, size, said)
        if modality == "CT" and choose.random() < 0.5:
            said = study | self._series("SR", day, series + 1, "Dose Report")
            yield from self._series_of(uid, "SR", series + 1, 1, 20_000, said)

    def _patient(self) -> _Patient:
        choose = self._random
        if self._patients and choose.random() < _COMES_BACK:
            return choose.choice(self._patients)
        born = date(1930, 1, 1) + timedelta(days=choose.randrange(30_000))
        values: dict[str, Value] = {
            "patient_name": f"{choose.choice(SURNAMES)}^{choose.choice(GIVEN)}",
            "patient_id": f"P{len(self._patients) + 1:07d}",
            "issuer_of_patient_id": None,
            "patient_birth_date": f"{born:%Y%m%d}",
            "patient_sex": choose.choice("MFO"),
        }
        self._patients.append(_Patient(values))
        return self._patients[-1]

    @staticmethod
    def _series(modality: str, day: str, number: int, shown: str) -> dict[str, Value]:
        return {
            "modality": modality,
            "series_date": day,
            "series_time": f"{8 + number % 10:02d}0000",
            "manufacturer": f"Maker {len(modality) + ord(modality[0]) % 3}",
            "station_name": f"{modality}{number % 4 + 1}",
            "series_description": shown,
            "body_part_examined": shown.split(maxsplit=1)[0].upper(),
            "series_number": number,
        }

    def _series_of(
        self, study: str, modality: str, number: int, count: int, size: int, said: dict[str, Value]
    ) -> Iterator[NewInstance]:
        series = f"{study}.{number}"
        for instance in range(1, count + 1):
            uid = f"{series}.{instance}"
            values = said | {
                "instance_number": instance,
                "content_date": said["series_date"],
                "rows": 512,
                "columns": 512,
                "bits_allocated": 16,
            }
            request = StoreRequest(
                source=Path(),
                data_set_offset=_DATA_SET_OFFSET,
                data_set_bytes=size,
                digest=hashlib.sha256(uid.encode("ascii")).hexdigest(),
                sop_class_uid=_CLASSES[modality],
                sop_instance_uid=uid,
                study_instance_uid=study,
                series_instance_uid=series,
                transfer_syntax_uid=EXPLICIT_VR_LITTLE_ENDIAN,
                modality=modality,
            )
            path = Layout.instance(str(said["patient_id"]), study, series, uid)
            yield NewInstance(request, InstanceAttributes(values), path, size + _DATA_SET_OFFSET)


def fill(url: str, count: int, *, seed: int = SEED) -> None:
    """Make an index with so many instances, a transaction for each 5000."""
    database = open_database(url)
    try:
        instances = islice(IndexGenerator(seed).instances(), count)
        while batch := [*islice(instances, _A_TRANSACTION)]:

            def put_in(work: Work, new: Sequence[NewInstance] = tuple(batch)) -> object:
                return add_instances(work, new)

            database.transact(put_in)
    finally:
        database.dispose()
