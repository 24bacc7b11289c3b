"""Makes `twistd wsdemo` known to Twisted; the code is loaded when it is run."""

from twisted.application.service import ServiceMaker

wsdemo = ServiceMaker(
    "wsdemo",
    "wsservice.tap",
    "A WebSocket service: greets every client, logs every message.",
    "wsdemo",
)
