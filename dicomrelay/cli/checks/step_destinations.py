"""Those who get messages about performed procedure steps: do they take an association, and the SOP class."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from dicomrelay.cli.checks.finding import Finding, failed, ok, warning
from dicomrelay.dicom.performed_step import MODALITY_PERFORMED_PROCEDURE_STEP
from dicomrelay.errors import ConfigurationError, ExitCode, NoAcceptedContext, RelayError
from dicomrelay.net.object_scu import ObjectScu, object_contexts
from dicomrelay.net.outcomes import judge
from dicomrelay.settings import Settings
from dicomrelay.settings.performed import StepDestinationSettings
from dicomrelay.text import shown

_AT_ONCE: Final = 16


def check_step_destinations(settings: Settings, timeout_s: float) -> Iterator[Finding]:
    """All of [[performed_procedure_steps.destinations]], at once; `timeout_s` bounds each step. No step is told them."""
    destinations = settings.performed_procedure_steps.destinations
    if not destinations:
        return
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        yield from pool.map(lambda each: _check(settings, each, timeout_s), destinations)


def _check(settings: Settings, destination: StepDestinationSettings, timeout_s: float) -> Finding:
    from workers.performed_forward import peer_of  # noqa: PLC0415 - the database's libraries

    about = f"steps to {destination.name}"
    where = f"{destination.ae_title}@{destination.host}:{destination.port}"
    patient = destination.model_copy(
        update={
            "connect_timeout_s": min(timeout_s, destination.connect_timeout_s),
            "response_timeout_s": min(timeout_s, destination.response_timeout_s),
        }
    )
    try:
        contexts = object_contexts(MODALITY_PERFORMED_PROCEDURE_STEP)
        with peer_of(settings, patient).associate(contexts) as association:
            ObjectScu(association, MODALITY_PERFORMED_PROCEDURE_STEP)
    except NoAcceptedContext:
        return warning(
            about,
            f"{where} takes associations, and no performed procedure steps (MPPS)",
            "let its administrator enable the SOP class; messages are tried again until then",
        )
    except ConfigurationError as error:
        return failed(about, str(error), "correct the setting", ExitCode.USAGE)
    except RelayError as error:
        return failed(about, shown(str(error)), judge(error).advice, error.exit_code)
    return ok(about, f"{where} takes performed procedure steps")
