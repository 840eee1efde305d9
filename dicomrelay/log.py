"""Logs: one canonical line for each association, task and request.

Words for a terminal, JSON otherwise. UIDs may appear, attributes of a patient never: nothing here, and no caller,
hands a data set to a logger.
"""

from __future__ import annotations

import logging
import sys
import warnings

import structlog


def configure(*, verbose: bool = False, quiet: bool = False, json: bool | None = None) -> None:
    """Set up logging for this process, once, at its composition root.

    Parameters
    ----------
    verbose : bool
        Debug lines too.
    quiet : bool
        Warnings and worse only: for commands that speak to people in words of their own.
    json : bool, optional
        JSON lines; by default where standard error is no terminal.
    """
    as_json = not sys.stderr.isatty() if json is None else json
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.types.Processor = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer()
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO)
    # Of a task Celery has a line when it comes and one when it is over; the workers have one of their own.
    noisy_ones = ("alembic", "kombu", "amqp", "tornado.access", "uvicorn.access", "pynetdicom")
    for noisy in (*noisy_ones, "celery.app.trace", "celery.worker.strategy"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # It quotes values that it cannot read, and those are a patient's. A level would not last: its import sets one.
    pydicom = logging.getLogger("pydicom")
    pydicom.propagate, pydicom.disabled = False, True
    warnings.simplefilter("ignore", UserWarning)  # the same words, on the same standard error
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,  # it could not be set up anew
    )


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger by its product name, such as `dicomrelay.gateway`, not by module path."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger
