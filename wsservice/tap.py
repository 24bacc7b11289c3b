"""twistd's face: the options of `twistd wsdemo`, and the service that they ask for."""

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

from . import __version__
from .broker import check as check_broker
from .config import Config, option_name
from .descriptors import raise_limit
from .errors import ConfigError, WSServiceError
from .escape import escape
from .jsonlog import use_json
from .listening import endpoints
from .memory import collect_seldom, keep_freed
from .notify import ServiceManager
from .reloading import Reloading, current_folder
from .service import WebSocketService, find_protocol, service_for
from .settings import Given, Settings, gather, nearest
from .signals import Signals, end_with
from .threshold import Threshold, inherited_level, use_threshold
from .workers.parent import ParentService
from .workers.reloading import SharedReloading

_log = Logger(namespace="wsservice")


def _fail(problem: str) -> NoReturn:
    # Caught here, since twistd would print its whole help, and twist exit with 64.
    sys.stderr.write(f"wsdemo: {problem}\n")
    raise SystemExit(1)


def _say(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # `--check-config | head -1`: Python would say so, once more, at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


class Options(usage.Options):
    """One option for each field of `Config`. `settings` is what all sources come to."""

    longdesc = (
        "A WebSocket service: it greets every client, logs every message, and can send at any time."
    )

    settings: Settings
    threshold: Threshold
    folder = ""
    _inherited: Mapping[str, Given]
    _file: str | None = None
    _check_only = False

    def opt_config(self, path: str) -> None:
        """take settings from this file in TOML too, by the names of the options with _ for -;
        variables such as WSSERVICE_PORT overrule it, and options both"""
        self._file = path

    def opt_check_config(self) -> None:
        """print the settings in effect, and where each was given, as such a file; start nothing"""
        self._check_only = True

    def opt_version(self) -> None:
        """Print the version of wsservice and exit."""
        _say(f"wsservice {__version__}\n")
        raise SystemExit(0)

    def parseOptions(self, options: list[str] | None = None) -> None:
        """Parse, or end the process with status 1 and one line that says what is wrong."""
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
        """The settings as they are now in file and environment. Raises `ConfigError`."""
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
            use_threshold(self.parent, self.threshold)
        if self._check_only:
            check(self.settings.config)


def _give_up(problem: str) -> None:
    """End a service that runs, with status 1."""
    from twisted.internet import reactor

    _log.critical("{problem}", problem=problem)
    # twistd has its log in the place of sys.stderr.
    if sys.__stderr__ is not None:
        with contextlib.suppress(OSError):
            sys.__stderr__.write(f"wsdemo: {problem}\n")
            sys.__stderr__.flush()
    end_with(1)
    with contextlib.suppress(ReactorNotRunning):
        reactor.stop()


def check(config: Config) -> None:
    """Look for what a configuration names, as starting does. Raises `ConfigError`."""
    from twisted.internet import reactor

    find_protocol(config.protocol)
    endpoints(config, reactor)
    if config.admin:
        from .admin import check as check_admin

        check_admin(config, reactor)
    check_broker(config)
    if config.webhook:
        from .webhook import check as check_webhook

        check_webhook(config)


def _plainer(problem: str) -> str:
    """getopt's words for a wrong option, with the nearest right one."""
    words = problem.split()
    if words[:1] != ["option"] or words[-2:] != ["not", "recognized"]:
        return escape(problem)
    known = [option_name(field.name) for field in attrs.fields(Config)]
    hint = nearest(words[1], [*known, "--config", "--check-config"], "see --help", "--")
    return f"{escape(words[1])}: there is no such option; {hint}"


def _option(field: attrs.Attribute[Any]) -> Callable[..., None]:
    def once(self: Options, value: str) -> None:
        self[field.name] = value

    def again(self: Options, value: str) -> None:
        self[field.name] = (*self.get(field.name, ()), value)

    def given(self: Options) -> None:
        self[field.name] = True

    option: Callable[..., None] = again if field.metadata["repeatable"] else once
    if not field.metadata["metavar"]:
        given.__doc__ = field.metadata["help"]
        return given
    default = "" if isinstance(field.default, attrs.Factory) else field.default  # type: ignore[arg-type]
    if isinstance(default, bool):
        default = "on" if default else "off"
    shown = f" [default: {default:g}]" if isinstance(default, float) else f" [default: {default}]"
    option.__doc__ = field.metadata["help"] + (shown if default not in ("", ()) else "")
    return option


for _field in attrs.fields(Config):
    setattr(Options, f"opt_{_field.name}", _option(_field))


def _reloading(service: WebSocketService | ParentService, options: Options) -> Reloading:
    given = (service.config, options.read, service.parts, options.threshold, options.folder)
    if isinstance(service, ParentService):
        return SharedReloading(service.ask, *given)
    return Reloading(*given)


def makeService(options: Options) -> IService:
    """The service for twistd and twist, its ports taken.

    They are taken here, before twistd forks, gives up its privileges or writes a
    pid file, so that what is wrong is said on the terminal, with status 1.
    """
    from twisted.internet import reactor

    # Whoever started us: the log and the pid file come after this, and are
    # not for everybody to write.
    os.umask(os.umask(0o077) | stat.S_IWOTH)
    try:
        manager = ServiceManager.of(os.environ, reactor)
        service = service_for(options.settings.config, reactor, manager, _give_up)
        service.listen()
    except WSServiceError as error:
        _fail(options.settings.placed(str(error)))
    raise_limit()
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
