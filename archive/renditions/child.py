"""The process that makes pictures (docs/design/renditions.md): under the bounds of the one that transcodes."""

from __future__ import annotations

import json
import os
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom import Dataset

from archive.frame_index import FrameIndex
from archive.renditions.attributes import read_attributes, representative_frame
from archive.renditions.picture import picture
from archive.renditions.request import MIDDLE, REPRESENTATIVE, PictureRequest
from dicomrelay.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN
from dicomrelay.errors import FrameError, NotTranscodable
from dicomrelay.transcode.child import serve
from dicomrelay.transcode.values import TranscodeLimits


@dataclass(slots=True)
class Painter:
    """Makes pictures; keeps what the last data set says."""

    limits: TranscodeLimits
    digest: str = ""
    attributes: Dataset | None = None

    def __call__(self, asked: dict[str, Any]) -> dict[str, Any]:
        """One picture: what is asked for as `Darkroom` says it."""
        descriptor = os.open(asked["data"], os.O_RDONLY | os.O_CLOEXEC)
        with open(descriptor, "rb") as file, closing(FrameIndex.open(asked["index"])) as index:
            header = index.header
            if os.fstat(descriptor).st_size != header.data_bytes:
                raise NotTranscodable("the file has another size than its frame index says")
            if self.digest != header.digest or self.attributes is None:
                is_inflated = header.data_path != header.stored_path
                self.attributes = read_attributes(
                    file,
                    0 if is_inflated else asked["offset"],
                    EXPLICIT_VR_LITTLE_ENDIAN if is_inflated else header.transfer_syntax_uid,
                )
                self.digest = header.digest
            number = asked["frame"]
            if number == REPRESENTATIVE:
                number = representative_frame(self.attributes, header.frame_count)
            elif number == MIDDLE:
                number = max(1, (header.frame_count + 1) // 2)
            try:
                data = picture(
                    self.attributes,
                    index,
                    descriptor,
                    number,
                    PictureRequest.from_json(asked["picture"]),
                    self.limits,
                )
            except FrameError as error:
                raise NotTranscodable(str(error)) from error
        with Path(asked["copy"]).open("xb") as out:
            return {"length": out.write(data)}


if __name__ == "__main__":
    _limits = TranscodeLimits(**json.loads(sys.argv[2]))
    serve(int(sys.argv[1]), _limits, Painter(_limits))
