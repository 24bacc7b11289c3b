"""Arguments of the Python peers: BEHAVIOUR PORT [--log FILE] [--tls CERT KEY] [--deflate]."""

from __future__ import annotations

import argparse
import ssl


def parse() -> argparse.Namespace:
    """The command line. `log` is a path or None, `tls` a pair of paths or None."""
    parser = argparse.ArgumentParser()
    parser.add_argument("behaviour", choices=["greeting", "echo", "broadcast"])
    parser.add_argument("port", type=int)
    parser.add_argument("--log")
    parser.add_argument("--tls", nargs=2)
    parser.add_argument("--deflate", action="store_true")
    return parser.parse_args()


def context(files: list[str] | None) -> ssl.SSLContext | None:
    """A server's TLS context of a certificate and a key; None for none."""
    if files is None:
        return None
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(*files)
    return made
