"""The plugin for twistd: the options of `twistd wsdemo`, and the service that they describe."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import attrs
from twisted.application.service import IService
from twisted.internet.error import ReactorNotRunning
from twisted.logger import Logger
from twisted.python import usage

from .. import __version__
from ..auth.identification import Identification
from ..broker import check as check_broker
from ..clock import use_monotonic
from ..config.config import Config
from ..config.fields import option_name
from ..config.helptext import PROGRAM, help_text, summary_of
from ..config.sources import Given, Settings, gather, nearest
from ..errors import ConfigError, WSServiceError
from ..escape import escape
from ..log.jsonlog import use_json
from ..log.threshold import Threshold, inherited_level, use_threshold
from ..net.descriptors import raise_limit
from ..net.listening import endpoints
from ..net.memory import collect_seldom, keep_freed
from ..net.notify import ServiceManager
from ..service.behaviour import find_protocol
from ..service.reloading import Reloading, current_folder
from ..service.service import WebSocketService
from ..workers.parent.service import ParentService
from .assembly import service_for
from .process import HELD, Signals, end_with
from .reloading import SharedReloading

_log = Logger(namespace="wsservice")


def _fail(problem: str) -> NoReturn:
    # An exception would make twistd print its whole help, and twist exit with 64.
    sys.stderr.write(f"wsdemo: {problem}\n")
    raise SystemExit(1)


def _say(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader is gone, as in `--help | head -1`. Python would report it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


class Options(usage.Options):
    """One option for each field of `Config`. `config.sources` merges all sources."""

    settings: Settings
    threshold: Threshold
    folder = ""
    _inherited: Mapping[str, Given]
    _file: str | None = None
    _check_only = False

    def opt_config(self, path: str) -> None:
        """read settings from this TOML file"""
        self._file = path

    def opt_check_config(self) -> None:
        """print the settings in effect, start nothing"""
        self._check_only = True

    def opt_help(self) -> None:
        """print the common options"""
        _say(str(self))
        raise SystemExit(0)

    def opt_help_all(self) -> None:
        """print every option, in full"""
        _say(f"{self.getSynopsis()}\n{help_text(everything=True)}")
        raise SystemExit(0)

    def opt_version(self) -> None:
        """print the version"""
        _say(f"wsservice {__version__}\n")
        raise SystemExit(0)

    def getUsage(self, width: int | None = None) -> str:
        return help_text(everything=False)

    def parseOptions(self, options: list[str] | None = None) -> None:
        """Parse options, or end the process with status 1 and one line about the mistake."""
        try:
            super().parseOptions(options)
        except usage.UsageError as error:
            _fail(_plainer(str(error)))
        except ConfigError as error:
            _fail(str(error))

    def parseArgs(self, *arguments: str) -> None:
        if arguments:
            raise usage.UsageError(
                f"'{arguments[0]}' is not allowed; give options only, see --help"
            )

    def postOptions(self) -> None:
        level = None if self.parent is None else inherited_level(self.parent)
        source = "twist --log-level"
        self._inherited = {} if level is None else {"log_level": Given(level, source, source)}
        HELD.forget()
        self.settings = self.read()
        self.folder = current_folder()
        try:
            self._check()
        except WSServiceError as error:
            raise ConfigError(self.settings.placed(str(error))) from None
        if self._check_only:
            _say("".join(f"{line}\n" for line in self.settings.as_toml()))
            raise SystemExit(0)

    def read(self) -> Settings:
        """Read file and environment again, and return the settings. Raises `ConfigError`."""
        return gather(self, os.environ, self._file, self._inherited)

    def _check(self) -> None:
        self.threshold = Threshold(self.settings.config.log_level)
        daemon = self.parent is not None and self.parent.get("nodaemon") in (False, 0)
        if self.settings.config.message_log == "-" and daemon:
            raise ConfigError(
                "--message-log: '-' is not allowed for a daemon, which has no standard output;"
                " give log, a file, or twistd -n"
            )
        if self.settings.config.log_format == "json" and self.parent is not None:
            use_json(self.parent)
        if self.parent is not None:
            use_threshold(self.parent, self.threshold, HELD.chain)
        if self._check_only:
            check(self.settings.config)


def _give_up(problem: str) -> None:
    """End a running service with status 1. `problem` is the line that says why."""
    from twisted.internet import reactor

    _log.critical("{problem}", problem=problem)
    # twistd replaces sys.stderr with its log.
    if sys.__stderr__ is not None:
        with contextlib.suppress(OSError):
            sys.__stderr__.write(f"wsdemo: {problem}\n")
            sys.__stderr__.flush()
    end_with(1)
    with contextlib.suppress(ReactorNotRunning):
        reactor.stop()


def check(config: Config) -> None:
    """Check that all files, classes and endpoints of a configuration exist, as a start does.

    Raises `ConfigError`.
    """
    from twisted.internet import reactor

    find_protocol(config.protocol)
    Identification(config, reactor)
    endpoints(config, reactor)
    if config.admin:
        from ..admin import check as check_admin

        check_admin(config, reactor)
    check_broker(config)
    if config.webhook:
        from ..webhook import check as check_webhook

        check_webhook(config)


def _plainer(problem: str) -> str:
    """Return getopt's message for a wrong option in plain words, with the right options."""
    # From 3.14 on Python adds a semicolon and more text.
    words = problem.partition(";")[0].split()
    if words[:1] != ["option"]:
        return escape(problem)
    name, known = words[1], [option_name(field.name) for field in attrs.fields(Config)]
    known += [option.partition("=")[0] for option, _ in PROGRAM]
    match words[2:]:
        case ["not", "recognized"]:
            hint = nearest(name, known, "see --help", "--")
            return f"{escape(name)}: unknown option; {hint}"
        case ["not", "a", "unique", "prefix"]:
            those = ", ".join(sorted(each for each in known if each.startswith(name)))
            return f"{escape(name)}: several options begin like this; give one of {those}"
    return escape(problem)


def _option(field: attrs.Attribute[Any]) -> Callable[..., None]:
    def once(self: Options, value: str) -> None:
        self[field.name] = value

    def again(self: Options, value: str) -> None:
        self[field.name] = (*self.get(field.name, ()), value)

    def given(self: Options) -> None:
        self[field.name] = True

    given_once: Callable[..., None] = once if field.metadata["metavar"] else given
    option = again if field.metadata["repeatable"] else given_once
    # Twisted's shell completion shows it.
    option.__doc__ = summary_of(field)
    return option


for _field in attrs.fields(Config):
    setattr(Options, f"opt_{_field.name}", _option(_field))


def _reloading(service: WebSocketService | ParentService, options: Options) -> Reloading:
    given = (service.config, options.read, service.parts, options.threshold, options.folder)
    if isinstance(service, ParentService):
        return SharedReloading(service.ask, *given)
    return Reloading(*given)


def makeService(options: Options) -> IService:
    """Return the service for twistd and twist, with its ports open.

    The ports are opened before twistd forks, gives up its privileges or writes a
    pid file, so that an error appears on the terminal, with status 1.
    """
    from twisted.internet import reactor

    use_monotonic(reactor)
    # The log and the pid file come after this, and other users must not write them,
    # whatever umask the service was started with.
    os.umask(os.umask(0o077) | stat.S_IWOTH)
    raise_limit()
    try:
        manager = ServiceManager.of(os.environ, reactor)
        service = service_for(options.settings.config, reactor, manager, _give_up)
        service.listen()
    except WSServiceError as error:
        _fail(options.settings.placed(str(error)))
    reloading = _reloading(service, options)

    def reload() -> None:
        with manager.reload():
            reloading.reload()

    if isinstance(service, ParentService):
        signals = Signals(reactor, service.reopen, service.finish, reload, roll=service.roll)
    else:
        signals = Signals(reactor, service.journal.reopen, service.journal.close, reload)
    signals.take_hang_ups()
    reactor.callWhenRunning(signals.install)
    keep_freed()
    reactor.callWhenRunning(collect_seldom)
    return service
