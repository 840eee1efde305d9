"""`dicomrelay audit ship`."""

from __future__ import annotations

from dicomrelay.cli.options import Invocation, relay_command
from dicomrelay.cli.signals import stop_on_signals
from dicomrelay.errors import ConfigurationError
from dicomrelay.net.tls import requestor_context
from dicomrelay.runtime import home
from dicomrelay.runtime.readiness import notify_ready


@relay_command(
    service=True,
    about="Send the trail of this home to the audit repository of [audit.syslog], by syslog over TLS, and go on with what comes. "
    "`dicomrelay up` does so by itself; where parts run one by one, one of these belongs to each home.",
    examples="dicomrelay audit ship --home /var/lib/dicomrelay",
)
def command(invocation: Invocation, /) -> None:
    from dicomrelay.audit.shipping import Shipper  # noqa: PLC0415 - a service is imported where it runs

    settings = invocation.settings
    if settings.audit.syslog is None:
        raise ConfigurationError("nothing says where the audit repository is: set host in [audit.syslog]")
    requestor_context(settings.audit.syslog.tls, where="audit.syslog.tls")
    home.prepare(settings)
    stop = stop_on_signals()
    notify_ready()
    Shipper(settings).run(stop)
