"""What a broker's errors are to us: it does not answer, or it refuses, and in its own words why."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from dicomrelay.errors import ServiceUnavailable

_MOST: Final = 200
# As OpenSSL says it, with the line of the library's source behind it.
_CERTIFICATE: Final = re.compile(r"certificate verify failed: ([^(]+)")
# Redis: WRONGPASS, NOAUTH, NOPERM; RabbitMQ: 403 ACCESS_REFUSED, 530 NOT_ALLOWED (a virtual host), 406 (a queue of another kind).
_REFUSED: Final = re.compile(
    r"username-password|WRONGPASS|NOAUTH|Authentication required|NOPERM|no permission"
    r"|ACCESS_REFUSED|NOT_ALLOWED|PRECONDITION_FAILED"
)
_OF_THE_LIBRARY: Final = (
    re.compile(r"^\(\d+, \d+\): "),
    re.compile(r"^[\w.]+: \(?(?=\(\d+\))"),
    re.compile(r" ?For details see the broker logfile\.?"),
)


@contextmanager
def broker_errors() -> Iterator[None]:
    """Turns the broker's errors into ours.

    Raises
    ------
    ServiceUnavailable
        In place of any error of kombu, redis-py, py-amqp or the socket. Its words are those of the first error, without what
        only a library understands; none of them quotes a password.
    """
    from kombu.exceptions import KombuError, OperationalError  # noqa: PLC0415 - late, as Celery
    from kombu.transport.pyamqp import Transport  # noqa: PLC0415
    from redis.exceptions import RedisError  # noqa: PLC0415

    # RabbitMQ's refusals are errors of a channel, also where there is none yet.
    amqp = (*Transport.connection_errors, *Transport.channel_errors)
    try:
        yield
    except (OperationalError, KombuError, RedisError, *amqp, OSError) as error:
        raise ServiceUnavailable(words_of(error)) from error


def words_of(error: BaseException) -> str:
    """What is wrong, in one line for people."""
    text = (str(error).strip().splitlines() or [""])[0]
    if found := _CERTIFICATE.search(text):
        return f"the broker's certificate is not accepted: {found[1].strip().rstrip('.')}"
    for pattern in _OF_THE_LIBRARY:
        text = pattern.sub("", text)
    text = text.strip()[:_MOST]
    if _REFUSED.search(text):
        return f"the broker refuses: {text}"
    return f"the broker does not answer ({text or type(error).__name__})"
