"""Gateways as subprocesses, each with as little around a configuration as Debian has."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from ..needs import need, need_program
from .processes import Program, Programs, can_connect, wait_until

NGINX_STREAMS = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
"""The path on Debian, which loads the module by itself."""

_APACHE_MODULES = Path("/usr/lib/apache2/modules")

_NGINX = """
{user}
daemon off;
pid nginx.pid;
error_log stderr;
{load}
events {{}}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    {http}
}}
{stream}
"""

_APACHE = """
{load}
ServerName localhost
ServerRoot "{folder}"
DefaultRuntimeDir "{folder}"
PidFile apache.pid
ErrorLog /dev/stderr
User {user}
Group #{group}
"""

_CADDY = """
{
    admin off
    auto_https off
}
"""


def _user() -> str:
    # As root Apache and lighttpd want another user for their children.
    return "www-data" if os.getuid() == 0 else f"#{os.getuid()}"


def started(program: Program, *ports: int) -> Program:
    """Wait until a gateway listens, and fail with what it said where it does not."""

    def listens() -> bool:
        return program.process.poll() is not None or all(map(can_connect, ports))

    wait_until(listens, "the gateway to listen")
    assert program.process.poll() is None, f"{program.stdout.text}{program.stderr.text}"
    return program


def haproxy(programs: Programs, configuration: str, *options: str) -> Program:
    """Start HAProxy, with options of its command line."""
    file = programs.folder / "haproxy.cfg"
    file.write_text(configuration)
    how = options or ("-db",)
    return programs.start(need_program("haproxy"), *how, "-f", file)


def nginx(programs: Programs, *, http: str = "", stream: str = "") -> Program:
    """Start nginx, with something within `http`, and with something beside it."""
    program = need_program("nginx")
    if stream:
        need(NGINX_STREAMS.exists(), "nginx's module for streams (libnginx-mod-stream)")
    file = programs.folder / "nginx.conf"
    load = f"load_module {NGINX_STREAMS};" if stream else ""
    user = "user www-data;" if os.getuid() == 0 else ""
    file.write_text(_NGINX.format(user=user, load=load, http=http, stream=stream))
    return programs.start(program, "-p", f"{programs.folder}/", "-c", file, "-e", "stderr")


def apache(programs: Programs, configuration: str, *modules: str) -> Program:
    """Start Apache with some modules beside those that it cannot do without."""
    program = need_program("apache2")
    needed = ("mpm_event", "authz_core", "proxy", "proxy_http", *modules)
    load = "\n".join(f"LoadModule {each}_module {_APACHE_MODULES}/mod_{each}.so" for each in needed)
    group = os.getgid() or 33
    start = _APACHE.format(load=load, folder=programs.folder, user=_user(), group=group)
    file = programs.folder / "apache.conf"
    file.write_text(start + configuration)
    return programs.start(program, "-D", "FOREGROUND", "-f", file)


def caddy(programs: Programs, configuration: str, options: str = _CADDY) -> Program:
    """Start Caddy, which without other options does not ask for certificates."""
    program = need_program("caddy")
    file = programs.folder / "Caddyfile"
    file.write_text(options + configuration)
    folder = str(programs.folder)
    home = {"HOME": folder, "XDG_DATA_HOME": folder, "XDG_CONFIG_HOME": folder}
    return programs.start(
        program, "run", "--adapter", "caddyfile", "--config", file, environment=home
    )


def lighttpd(programs: Programs, configuration: str) -> Program:
    """Start lighttpd."""
    program = need_program("lighttpd")
    file = programs.folder / "lighttpd.conf"
    file.write_text(configuration)
    return programs.start(program, "-D", "-f", file)


def stunnel(programs: Programs, configuration: str) -> Program:
    """Start stunnel."""
    program = need_program("stunnel")
    file = programs.folder / "stunnel.conf"
    file.write_text(configuration)
    return programs.start(program, file)


def traefik(programs: Programs, static: str, dynamic: str) -> Program:
    """Start Traefik, with what it reads once and what it watches."""
    program = need_program("traefik")
    (programs.folder / "dynamic.yml").write_text(dynamic)
    file = programs.folder / "traefik.yml"
    file.write_text(static)
    return programs.start(program, f"--configFile={file}")


def envoy(programs: Programs, configuration: str) -> Program:
    """Start Envoy."""
    program = need_program("envoy")
    file = programs.folder / "envoy.yaml"
    file.write_text(configuration)
    options = ("--disable-hot-restart", "--log-level", "warning", "--concurrency", "1")
    return programs.start(program, "-c", file, *options)


def _nginx_by_default(programs: Programs, port: int, behind: int) -> Program:
    site = f"listen 127.0.0.1:{port}; location / {{ proxy_pass http://127.0.0.1:{behind}; }}"
    return nginx(programs, http=f"server {{ {site} }}")


def _apache_by_default(programs: Programs, port: int, behind: int) -> Program:
    site = f"Listen 127.0.0.1:{port}\nProxyPass / http://127.0.0.1:{behind}/\n"
    return apache(programs, site)


def _caddy_by_default(programs: Programs, port: int, behind: int) -> Program:
    site = f"http://:{port} {{\n  bind 127.0.0.1\n  reverse_proxy 127.0.0.1:{behind}\n}}\n"
    return caddy(programs, site)


def _haproxy_by_default(programs: Programs, port: int, behind: int) -> Program:
    times = "timeout connect 5s\ntimeout client 10s\ntimeout server 10s"
    return haproxy(
        programs,
        f"defaults\nmode http\n{times}\nlisten all\nbind 127.0.0.1:{port}\n"
        f"server one 127.0.0.1:{behind}\n",
    )


DEFAULTS: dict[str, Callable[[Programs, int, int], Program]] = {
    "nginx": _nginx_by_default,
    "apache": _apache_by_default,
    "caddy": _caddy_by_default,
    "haproxy": _haproxy_by_default,
}
"""Each gateway with the least that makes it forward HTTP from one port to another."""
