"""Where `send --direct` may not send to."""

from __future__ import annotations

from typing import Any

import pytest

from dicomrelay.cli.targets import find_target
from dicomrelay.errors import ConfigurationError
from dicomrelay.settings import Settings


def web(name: str, url: str) -> dict[str, Any]:
    return {"name": name, "kind": "dicomweb", "url": url}


def test_of_the_web_services_of_a_host_only_the_one_with_edits_is_refused() -> None:
    """Their AE title, host and port are the same; two names of one service are one."""
    settings = Settings.model_validate(
        {
            "destinations": [
                web("research", "https://h.example/research"),
                web("same", "https://H.example:443/research/"),
                web("clinic", "https://h.example/clinic"),
                {"name": "plain", "ae_title": "STOW-RS", "host": "h.example", "port": 443},
            ],
            "edits": [{"name": "basic", "remove": ["PatientName"]}],
            "rules": [{"send_to": ["research"], "edits": "basic"}],
        }
    )
    for name in ("research", "same"):
        with pytest.raises(ConfigurationError, match=f"--direct: rules send {name} copies edited by 'basic'"):
            find_target(name, settings)
    for name in ("clinic", "plain"):
        assert find_target(name, settings)[1].name == name
