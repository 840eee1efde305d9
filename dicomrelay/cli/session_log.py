"""The log file of one `send` or `receive`: every line of ours, in words; standard error keeps what is for people."""

from __future__ import annotations

import logging
from pathlib import Path

import structlog

from dicomrelay.settings import Settings


def log_to_file(settings: Settings, name: str) -> Path:
    """Let what is logged from now on go into `logs/` of the home; where it is.

    Parameters
    ----------
    name : str
        Of the file, without its suffix.
    """
    path = settings.path("logs", f"{name}.log")
    shared: list[structlog.types.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    handler = logging.FileHandler(path, encoding="utf-8", delay=False)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.LogfmtRenderer(
                    key_order=["timestamp", "level", "event"], bool_as_flag=False
                ),
            ],
        )
    )
    root = logging.getLogger()
    verbose = root.level == logging.DEBUG
    for other in root.handlers:
        other.setLevel(logging.DEBUG if verbose else max(other.level, logging.ERROR))
    root.addHandler(handler)
    root.setLevel(min(root.level, logging.INFO))
    path.chmod(0o600)
    return path
