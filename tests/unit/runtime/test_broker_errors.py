"""What is said of a broker that does not do what it is asked: why, and nothing else."""

from __future__ import annotations

import ssl

import pytest
from kombu.exceptions import OperationalError
from kombu.transport.pyamqp import amqp
from redis.exceptions import AuthenticationError
from redis.exceptions import TimeoutError as RedisTimeout

from dicomrelay.errors import ServiceUnavailable
from dicomrelay.runtime.broker_errors import broker_errors

_AMQP = amqp.exceptions
_EXPIRED = "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: certificate has expired (_ssl.c:1006)"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            OperationalError("invalid username-password pair or user is disabled."),
            "refuses: invalid username",
        ),
        (AuthenticationError("Authentication required."), "refuses: Authentication required"),
        (
            _AMQP.AccessRefused(
                "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN.", (0, 0)
            ),
            "refuses: .*Login was refused",
        ),
        (
            _AMQP.NotAllowed("NOT_ALLOWED - vhost other not found", (10, 40)),
            "refuses: .*vhost other not found",
        ),
        (
            _AMQP.PreconditionFailed("PRECONDITION_FAILED - inequivalent arg 'x-queue-type'", (50, 10)),
            "refuses: .*x-queue-type",
        ),
        (OperationalError(f"Error 1 connecting to 10.0.0.3:6379. {_EXPIRED}."), "certificate has expired$"),
        (ssl.SSLCertVerificationError(1, _EXPIRED), "not accepted: certificate has expired$"),
        (ConnectionRefusedError(111, "Connection refused"), "does not answer .*Connection refused"),
        (RedisTimeout(), r"does not answer \(TimeoutError\)"),
    ],
)
def test_each_says_what_is_wrong(error: Exception, words: str) -> None:
    """An error of ours, whatever the library calls it: what waits for the broker goes on waiting."""
    with pytest.raises(ServiceUnavailable, match=words) as caught, broker_errors():
        raise error
    assert "\n" not in str(caught.value)
