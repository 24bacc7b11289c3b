"""Publish from another process: the public name of `wsservice.publish`."""

from __future__ import annotations

from .publish import (
    DEFAULT_URL,
    TIMEOUT,
    TOKEN_FILE_VARIABLE,
    TOKEN_VARIABLE,
    URL_VARIABLE,
    Message,
    Published,
    Publisher,
    publish,
    read_token,
    send_user,
    ticket,
)

__all__ = [
    "DEFAULT_URL",
    "TIMEOUT",
    "TOKEN_FILE_VARIABLE",
    "TOKEN_VARIABLE",
    "URL_VARIABLE",
    "Message",
    "Published",
    "Publisher",
    "publish",
    "read_token",
    "send_user",
    "ticket",
]
