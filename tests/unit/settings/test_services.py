"""The sections `broker` and `database`: which URLs, and what goes with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from dicomrelay.errors import ConfigurationError
from dicomrelay.settings import Settings, load


def _load(folder: Path, toml: str) -> Settings:
    (folder / "relay.toml").write_text(toml, "utf-8")
    return load(home=folder)


@pytest.mark.parametrize("scheme", ["redis", "rediss", "redis+socket", "amqp", "amqps"])
def test_a_broker_is_redis_or_rabbitmq(tmp_path: Path, scheme: str) -> None:
    """With TLS and without."""
    assert (
        _load(tmp_path, f'[broker]\nurl = "{scheme}://h/x"\n')
        .broker.url.get_secret_value()
        .startswith(scheme)
    )


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ('[broker]\nurl = "kafka://h"\n', "broker.url"),
        ('[broker]\nurl = "redis://h:99999"\n', "broker.url"),
        ('[broker]\nurl = "redis://h"\ntls = {}\n', "rediss:// or amqps://"),
        ("[broker]\ntls = {}\n", "rediss:// or amqps://"),
        ('[broker]\nurl = "amqp://h"\ntls = { ca = "x" }\n', "rediss:// or amqps://"),
        ('[broker]\nurl = "rediss://h"\ntls = { key = "x" }\n', "without certificate"),
        ('[broker]\nurl = "rediss://:canary@h"\npassword_file = "x"\n', "a password too"),
        ('[broker]\nurl = "rediss://:canary@h/0?ssl_cert_reqs=none"\n', "words about TLS"),
        ('[broker]\nurl = "rediss://h/0?x=1&SSL_check_hostname=false"\ntls = {}\n', "words about TLS"),
        ('[broker]\nurl = "amqps://u:canary@h//?ssl=0"\n', "words about TLS"),
        ('[broker]\nurl = "amqps://h//?cert_reqs=0"\n', "words about TLS"),
        ('[broker]\nurl = "amqps://u:canary@h//;amqp://u:canary@i//"\n', "one server"),
        ('[broker]\npassword_file = "x"\n', "there is none"),
        ('[database]\npassword_file = "x"\n', "there is none"),
        ("[database]\ntls = {}\n", "there is none"),
        ('[database]\nurl = "postgresql://h/x?sslmode=require"\ntls = {}\n', "words about TLS too"),
        ('[traces]\nendpoint = "http://collector:4318/v1"\ntoken = "canary"\n', "unencrypted"),
        ('[database]\nurl = "postgresql://u:canary@h/x"\npassword_file = "x"\n', "a password too"),
    ],
)
def test_what_contradicts_itself_is_refused(tmp_path: Path, toml: str, words: str) -> None:
    """The error says where, and quotes no password."""
    with pytest.raises(ConfigurationError, match=words) as error:
        _load(tmp_path, toml)
    assert "canary" not in str(error.value)
