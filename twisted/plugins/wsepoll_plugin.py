"""Makes `twistd --reactor wsepoll` known to Twisted; the code is loaded when it is chosen."""

from twisted.application.reactors import Reactor

wsepoll = Reactor(
    "wsepoll",
    "wsservice.reactor",
    "epoll(4) without a log context for each event, faster with small messages.",
)
