"""The client: `connect`, and the program `python -m wsservice.client`."""

from .connecting import connect
from .options import ClientConfig
from .protocol import ClientProtocol

__all__ = ["ClientConfig", "ClientProtocol", "connect"]
