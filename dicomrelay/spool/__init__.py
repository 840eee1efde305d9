"""The durable record on disk (docs/design/spool.md). Knows neither sockets nor SQL."""

from dicomrelay.spool.records import Provenance, SpoolRecord
from dicomrelay.spool.spool import Recovery, Spool
from dicomrelay.spool.usage import SpoolUsage
from dicomrelay.spool.writer import SpoolWriter

__all__ = ["Provenance", "Recovery", "Spool", "SpoolRecord", "SpoolUsage", "SpoolWriter"]
