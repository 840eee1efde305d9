"""What goes into a change of transfer syntax, what comes out, and what it may cost."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Source:
    """A data set somewhere in a file.

    Attributes
    ----------
    offset, length : int
        Where the data set begins in the file, and how long it is, in bytes.
    """

    path: Path
    offset: int
    length: int
    transfer_syntax_uid: str


@dataclass(frozen=True, slots=True)
class Copy:
    """The same instance in another transfer syntax: a data set alone in a temporary file.

    Attributes
    ----------
    length : int
        Bytes of the data set.
    digest : str
        Its SHA-256, hexadecimal.
    """

    path: Path
    length: int
    digest: str
    transfer_syntax_uid: str


@dataclass(frozen=True, slots=True)
class TranscodeLimits:
    """What one copy may cost, whoever wrote the data set.

    Attributes
    ----------
    max_frame_bytes : int
        One frame, decoded: Rows × Columns × Samples per Pixel × bytes of a sample.
    max_frames : int
        Number of Frames (0028,0008).
    max_bytes : int
        A data set that is made, and one that is inflated.
    max_inflation : int
        How many times its size a deflated stream may become, once it is over 64 MiB.
    max_elements : int
        Data elements, those in sequences too.
    max_depth : int
        Sequences inside one another.
    memory_bytes : int
        Address space of the child process.
    seconds, bytes_per_second : float
        Time for one copy: so long, and for what it reads and makes that rate.
    min_free_bytes : int
        Room to be left on the disk of the copies.
    """

    max_frame_bytes: int = 256 << 20
    max_frames: int = 1_000_000
    max_bytes: int = 64 << 30
    max_inflation: int = 200
    max_elements: int = 10_000_000
    max_depth: int = 64
    memory_bytes: int = 3 << 30
    seconds: float = 60.0
    bytes_per_second: float = 2_000_000.0
    min_free_bytes: int = 0
