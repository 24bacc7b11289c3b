"""Makes `twistd wsdemo` known to Twisted; the code is loaded when it is run."""

from typing import Any

from twisted.application.service import ServiceMaker


class SignalHoldingServiceMaker(ServiceMaker):  # type: ignore[misc]
    """A `ServiceMaker` whose service is not ended by a SIGHUP, SIGUSR1 or SIGUSR2 at its start."""

    @property
    def options(self) -> Any:
        """The options of `wsdemo`. twistd and twist ask for them first, where it is to run."""
        from wsservice.run.process import HELD

        # Loading the rest takes a second or more.
        HELD.take()
        return super().options


wsdemo = SignalHoldingServiceMaker(
    "wsdemo",
    "wsservice.run.tap",
    "A WebSocket service: greets every client, logs every message.",
    "wsdemo",
)
