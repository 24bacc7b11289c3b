"""How `python -m wsservice.client` reaches a server, and who it says it is: with real sockets."""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import pty
import socket
import ssl
import stat
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ..certificates import Authority
from ..needs import need, need_ipv6
from .processes import PATIENCE, Program, Programs, can_connect, free_port, wait_until
from .test_client_program import Hosts, failed, hosts
from .wire import Closed, Host

__all__ = ["hosts"]


@pytest.fixture
def authority(programs: Programs) -> Authority:
    return Authority(programs.folder)


@pytest.fixture
def more() -> Iterator[Hosts]:
    """Another server."""
    more = Hosts()
    yield more
    more.end()


class SecureHosts(Hosts):
    """A server that speaks TLS."""

    def __init__(self, key: Path, certificate: Path, client_ca: Path | None = None) -> None:
        super().__init__()
        self.url = self.url.replace("ws:", "wss:")
        self.names: list[str | None] = []
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate, key)
        self._context.sni_callback = lambda _socket, name, _context: self.names.append(name)
        if client_ca is not None:
            self._context.load_verify_locations(client_ca)
            self._context.verify_mode = ssl.CERT_REQUIRED

    def next(self) -> Host:
        accepted = self._listener.accept()[0]
        accepted.settimeout(PATIENCE)
        host = Host(self._context.wrap_socket(accepted, server_side=True))
        self._ends.append(host)
        return host

    def refused(self) -> None:
        """The next who comes does not like what it sees."""
        accepted = self._listener.accept()[0]
        accepted.settimeout(PATIENCE)
        with contextlib.suppress(OSError), self._context.wrap_socket(accepted, server_side=True):
            pass
        accepted.close()


@pytest.fixture
def secure() -> Iterator[Callable[..., SecureHosts]]:
    made: list[SecureHosts] = []

    def secure(key: Path, certificate: Path, client_ca: Path | None = None) -> SecureHosts:
        made.append(SecureHosts(key, certificate, client_ca))
        return made[-1]

    yield secure
    for each in made:
        each.end()


Secure = Callable[..., SecureHosts]


def greeted(client: Program, host: Host) -> None:
    """The connection opens, carries a message, and is closed in order."""
    host.accept()
    host.send("hello")
    assert host.receive() == Closed(1000, "")
    host.send_close(1000)
    host.end()
    assert client.wait() == 0, client.stderr.text
    assert client.stdout.text == "hello\n"


_WITHOUT_A_TERMINAL = "import os, sys; os.setsid(); os.execv(sys.argv[1], sys.argv[1:])"


class TestWhatIsTyped:
    """A URL, or an option about it, that cannot be is one line, and a status."""

    @pytest.mark.parametrize(
        ("arguments", "status", "said"),
        [
            ([f"ws+unix:/{'x' * 107}"], 2, "the path of a socket has at most 107 octets"),
            (["ws://127.0.0.1/", "--ipv6"], 2, "--ipv6: 127.0.0.1 is an IPv4 address; give"),
            (["ws://[::1]/", "--ipv4"], 2, "--ipv4: ::1 is an IPv6 address; give"),
            (["ws://h/chat@home#x"], 2, "'ws://h/chat@home#x' is not allowed; a WebSocket URL"),
            (["ws://a..b/"], 2, "no two dots in a row"),
            (["wss://a~b/"], 2, "'a~b' is not allowed with TLS; no certificate can be"),
            (["ws://h/a b"], 2, "a space in it is written %20"),
            (["ws://[fe80::1%25nowhere0]/", "--connect-timeout", "5"], 3, "or zone of one"),
            (["ws://localhost/", "--proxy", "socks4://p"], 2, "--proxy: 'socks4://p' is not"),
        ],
    )
    def test_it_is_said(
        self, programs: Programs, arguments: list[str], status: int, said: str
    ) -> None:
        failed(programs.client(*arguments), status, said)

    def test_an_address_with_a_zone(self, programs: Programs) -> None:
        need_ipv6()
        hosts = Hosts("::1")
        try:
            client = programs.client(f"ws://[::1%251]:{hosts.port}/")
            host = hosts.next()
            assert f"\r\nHost: [::1]:{hosts.port}\r\n" in host.head
            greeted(client, host)
        finally:
            hosts.end()

    def test_a_name_and_a_path_beyond_ascii(self, hosts: Hosts, programs: Programs) -> None:
        pin = f"xn--bcher-kva.example:{hosts.port}:127.0.0.1"
        client = programs.client(
            f"ws://bücher.example:{hosts.port}/ü?é", "--resolve", pin, "--proxy", ""
        )
        host = hosts.next()
        assert host.head.startswith("GET /%C3%BC?%C3%A9 HTTP/1.1\r\n")
        assert f"\r\nHost: xn--bcher-kva.example:{hosts.port}\r\n" in host.head
        greeted(client, host)

    def test_a_unix_socket_of_any_name(self, programs: Programs) -> None:
        path = programs.folder / "sö:cket"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen()
            listener.settimeout(PATIENCE)
            client = programs.client(f"ws+unix:{str(path).replace(':', '%3A')}:/ü")
            host = Host(listener.accept()[0])
        assert host.head.startswith("GET /%C3%BC ")
        greeted(client, host)


class TestEnvironment:
    def test_gnomes_proxy_is_one_of_socks_5(self, hosts: Hosts, programs: Programs) -> None:
        client = programs.client(
            "ws://a.example/", environment={"all_proxy": f"socks://127.0.0.1:{hosts.port}/"}
        )
        proxy = hosts.next_raw()
        assert proxy.recv(3) == b"\5\1\0"
        proxy.sendall(b"\5\0")
        assert proxy.recv(99) == b"\5\1\0\3\x09a.example\0\x50"
        proxy.sendall(b"\5\0\0\1" + bytes(6))
        greeted(client, Host(proxy))

    @pytest.mark.parametrize("exempt", ["127.0.0.1:{port}", "*:{port}", "*"])
    def test_a_port_may_be_exempt(self, hosts: Hosts, programs: Programs, exempt: str) -> None:
        environment = {"http_proxy": "127.0.0.1:1", "no_proxy": exempt.format(port=hosts.port)}
        client = programs.client(hosts.url, environment=environment)
        greeted(client, hosts.next())

    def test_another_port_is_not(self, hosts: Hosts, programs: Programs) -> None:
        proxy = f"127.0.0.1:{hosts.port}"
        environment = {"http_proxy": proxy, "no_proxy": "*.example:81, a.example:8"}
        client = programs.client("ws://b.a.example/", environment=environment)
        host = hosts.next()
        assert host.head.startswith("CONNECT b.a.example:80 ")
        host.answer("403 No")
        failed(client, 3, f"the proxy http://{proxy}: it answered 403 No")


INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"


class TestInterimAnswers:
    """Those of 1xx, which may come before every answer (RFC 9110, 15.2)."""

    def test_of_a_server(self, hosts: Hosts, programs: Programs) -> None:
        client = programs.client(hosts.url)
        host = hosts.next()
        host.socket.sendall(INTERIM)
        greeted(client, host)
        assert client.stderr.text == ""

    def test_before_a_redirect(self, hosts: Hosts, programs: Programs) -> None:
        client = programs.client(hosts.url)
        hosts.next().socket.sendall(INTERIM + b"HTTP/1.1 302 X\r\nLocation: /there\r\n\r\n")
        host = hosts.next()
        assert host.head.startswith("GET /there ")
        greeted(client, host)

    def test_of_a_proxy(self, hosts: Hosts, programs: Programs) -> None:
        client = programs.client("ws://a.example/", "--proxy", f"127.0.0.1:{hosts.port}")
        host = hosts.next()
        assert host.head.startswith("CONNECT a.example:80 ")
        host.socket.sendall(INTERIM + b"HTTP/1.1 200 OK\r\n\r\n")
        greeted(client, host.again())
        assert client.stderr.text == ""

    @pytest.mark.parametrize("proxy", [True, False])
    def test_that_never_end_are_given_up(
        self, hosts: Hosts, programs: Programs, proxy: bool
    ) -> None:
        options = ("--proxy", f"127.0.0.1:{hosts.port}") if proxy else ()
        client = programs.client(hosts.url, "--connect-timeout", "0", *options)
        hosts.next().socket.sendall(INTERIM * 9)
        failed(client, 3 if proxy else 5, "more than 16 answers 1xx and no final one")


class TestWhoOneIs:
    def test_all_that_is_given_is_said(self, hosts: Hosts, programs: Programs) -> None:
        client = programs.client(
            *(hosts.url, "-H", "X-A: 1", "--header", "Host: b.example", "--origin", "https://o"),
            *("--subprotocol", "s", "--subprotocol", "t", "--auth", "u:p", "-b", "a=b; c=d"),
            *("--user-agent", "me", "--compression", "on"),
        )
        host = hosts.next()
        lines = set(host.head.split("\r\n"))
        assert {
            "Host: b.example",
            "X-A: 1",
            "Origin: https://o",
            "Sec-WebSocket-Protocol: s, t",
            "Authorization: Basic dTpw",
            "Cookie: a=b; c=d",
            "User-Agent: me",
        } <= lines
        assert "Sec-WebSocket-Extensions: permessage-deflate" in host.head
        greeted(client, host)
        assert client.stderr.text == ""

    def test_a_token_of_the_environment(self, hosts: Hosts, programs: Programs) -> None:
        client = programs.client(
            hosts.url, "--bearer", "env:MY_TOKEN", environment={"MY_TOKEN": "abc"}
        )
        host = hosts.next()
        assert "\r\nAuthorization: Bearer abc" in host.head
        greeted(client, host)

    def test_a_password_of_the_url_is_never_shown(self, programs: Programs) -> None:
        url = f"ws://user:secret@127.0.0.1:{free_port()}/"
        client = programs.client(url, "-v")
        assert client.wait() == 3
        assert "secret" not in client.stderr.text

    def test_cookies_are_kept_in_a_jar(self, hosts: Hosts, programs: Programs) -> None:
        jar = programs.folder / "jar"
        for sent in ("", "\r\nCookie: k=v"):
            client = programs.client(hosts.url, "--cookie-jar", "jar")
            host = hosts.next()
            assert ("\r\nCookie: " in host.head) == bool(sent)
            assert sent in host.head
            host.accept("Set-Cookie: k=v\r\n")
            assert host.receive() == Closed(1000, "")
            host.send_close(1000)
            host.end()
            assert client.wait() == 0
        assert stat.S_IMODE(jar.stat().st_mode) == 0o600
        client = programs.client(hosts.url, "-b", "@jar")
        host = hosts.next()
        assert sent in host.head
        greeted(client, host)

    def test_a_password_is_asked_for_at_the_terminal(self, hosts: Hosts) -> None:
        terminal, theirs = pty.openpty()
        # Not `pty.fork`, of which Python warns where a test before left threads.
        client = subprocess.Popen(
            [sys.executable, "-m", "wsservice.client", hosts.url, "--auth", "u", "-m", "hi"],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # its own terminal
        )
        os.close(theirs)
        try:
            shown = b""
            while b"Password of 'u': " not in shown:
                shown += os.read(terminal, 4096)
            os.write(terminal, b"secret\n")
            host = hosts.next()
            assert "\r\nAuthorization: Basic dTpzZWNyZXQ=" in host.head
            host.accept()
            assert host.receive() == "hi"
            host.send_close(1000)
            host.end()
            with contextlib.suppress(OSError):
                while more := os.read(terminal, 4096):
                    shown += more
            assert b"secret" not in shown
        finally:
            os.close(terminal)
            client.wait(PATIENCE)

    def test_without_a_terminal_it_is_wrong_usage(self, programs: Programs) -> None:
        client = programs.start(
            *(sys.executable, "-c", _WITHOUT_A_TERMINAL),
            *(sys.executable, "-m", "wsservice.client", "ws://localhost/", "--auth", "u"),
        )
        failed(client, 2, "--auth: there is no terminal to ask at; give USER:PASS")


class TestTLS:
    def test_of_an_authority_of_ones_own(
        self, authority: Authority, secure: Secure, programs: Programs
    ) -> None:
        server = secure(*authority.certificate())
        client = programs.client(
            *(f"wss://localhost:{server.port}/", "--ca", authority.file, "-v"),
        )
        host = server.next()
        assert server.names == ["localhost"]
        greeted(client, host)
        shown = client.stderr.text
        assert "* TLS: TLSv1.3, TLS_" in shown
        assert "* TLS: certificate of CN=localhost\n" in shown
        assert shown.index("* TLS: ") < shown.index("> GET / HTTP/1.1\n")
        assert shown.index("> GET ") < shown.index("< HTTP/1.1 101 Switching Protocols\n")

    @pytest.mark.parametrize(
        ("host", "expired", "known", "words"),
        [
            ("localhost", True, True, "certificate has expired"),
            ("elsewhere.example", False, True, "the certificate is not for this host"),
            ("localhost", False, False, "unable to get local issuer certificate"),
        ],
        ids=["expired", "another-host", "unknown-authority"],
    )
    def test_a_certificate_that_is_wrong_is_status_4(
        self,
        authority: Authority,
        secure: Secure,
        programs: Programs,
        host: str,
        expired: bool,
        known: bool,
        words: str,
    ) -> None:
        server = secure(*authority.certificate(host, expired=expired))
        trust: list[str | Path] = ["--ca", authority.file] if known else []
        client = programs.client(f"wss://localhost:{server.port}/", "-m", "secret", *trust)
        server.refused()
        failed(client, 4, "TLS failed", words)

    def test_insecure_says_so_each_time(
        self, authority: Authority, secure: Secure, programs: Programs
    ) -> None:
        server = secure(*authority.certificate("elsewhere.example", expired=True))
        client = programs.client(f"wss://localhost:{server.port}/", "-k")
        host = server.next()
        assert server.names == ["localhost"]
        greeted(client, host)
        assert client.stderr.lines == [
            "wsservice.client: WARNING: --insecure: the server's identity is not verified"
        ]

    def test_a_name_that_leads_elsewhere_is_verified_all_the_same(
        self, authority: Authority, secure: Secure, programs: Programs
    ) -> None:
        server = secure(*authority.certificate("far.example"))
        url, pin = f"wss://far.example:{server.port}/", f"far.example:{server.port}:127.0.0.1"
        client = programs.client(url, "--ca", authority.file, "--resolve", pin)
        host = server.next()
        assert server.names == ["far.example"]
        assert f"\r\nHost: far.example:{server.port}\r\n" in host.head
        greeted(client, host)

    def test_a_certificate_of_ones_own(
        self, authority: Authority, secure: Secure, programs: Programs
    ) -> None:
        server = secure(*authority.certificate(), client_ca=authority.file)
        url = f"wss://localhost:{server.port}/"
        key, certificate = authority.certificate("me.example")
        client = programs.client(url, "--ca", authority.file, "--cert", certificate, "--key", key)
        greeted(client, server.next())
        client = programs.client(url, "--ca", authority.file)
        server.refused()
        failed(client, 4, "TLS failed", "the server asks for a client certificate")

    def test_no_tls_at_all_is_status_4(self, more: Hosts, programs: Programs) -> None:
        client = programs.client(more.url.replace("ws:", "wss:"))
        accepted = more._listener.accept()[0]
        accepted.recv(9999)
        accepted.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        failed(client, 4, "TLS failed", "the server does not speak it")
        accepted.close()


class TestPlaces:
    def test_a_unix_socket(self, programs: Programs) -> None:
        server = programs.twistd("--listen", "unix:ws.sock")
        server.log.wait_for("starting on")
        client = programs.client("ws+unix:ws.sock:/there?x", "-m", "by file")
        assert client.wait() == 0, client.stderr.text
        assert client.stdout.text == "Hello from server\n"
        server.log.wait_for("Message received: by file\n")

    def test_a_unix_socket_that_is_not_there(self, programs: Programs) -> None:
        failed(programs.client("ws+unix:nowhere.sock"), 3, "no such file or directory")

    def test_the_address_that_answers_is_taken(self, hosts: Hosts, programs: Programs) -> None:
        need_ipv6()
        port = hosts.url.split(":")[2].split("/")[0]
        pin = f"far.example:{port}:[::1],127.0.0.1"
        url = f"ws://far.example:{port}/"
        greeted(programs.client(url, "--resolve", pin), hosts.next())
        failed(programs.client(url, "--resolve", pin, "--ipv6"), 3, "connection refused")

    def test_a_network_that_does_not_answer_is_given_up(self, programs: Programs) -> None:
        with socket.socket() as full:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            with contextlib.ExitStack() as waiting:
                for _ in range(4):  # nobody accepts: the next does not get through
                    one = waiting.enter_context(socket.socket())
                    one.setblocking(False)
                    one.connect_ex(full.getsockname())
                url = f"ws://127.0.0.1:{full.getsockname()[1]}/"
                client = programs.client(url, "--connect-timeout", "0.5")
                failed(client, 3, "no answer")


class TestRefusals:
    def test_the_status_and_the_first_line_of_the_body(
        self, hosts: Hosts, programs: Programs
    ) -> None:
        client = programs.client(hosts.url, "--auth", "u:secret")
        host = hosts.next()
        host.answer("401 Unauthorized", "Content-Length: 24\r\n")
        host.socket.sendall(b"\ntoken \x1b[2Jexpired\nmore\n")
        failed(client, 5, r"401 Unauthorized: token \x1b[2Jexpired")
        assert "secret" not in client.stderr.text

    def test_a_body_that_never_comes(self, hosts: Hosts, programs: Programs) -> None:
        client = programs.client(hosts.url)
        hosts.next().answer("403 Forbidden", "Content-Length: 24\r\n")
        failed(client, 5, "403 Forbidden")

    def test_headers_that_never_end(self, hosts: Hosts, programs: Programs) -> None:
        client = programs.client(hosts.url)
        host = hosts.next()
        host.socket.sendall(b"HTTP/1.1 101 Switching Protocols\r\n")
        with contextlib.suppress(OSError):
            while client.process.poll() is None:
                host.socket.sendall(b"X-More: " + b"x" * 1000 + b"\r\n")
        failed(client, 5, "head of its answer is too long")

    def test_an_extension_and_a_subprotocol_that_were_not_asked_for(
        self, hosts: Hosts, programs: Programs
    ) -> None:
        for header in ("Extensions: permessage-deflate", "Extensions: x", "Protocol: s"):
            client = programs.client(hosts.url)
            hosts.next().accept(f"Sec-WebSocket-{header}\r\n")
            failed(client, 5, "did not open a WebSocket")


class TestRedirects:
    def test_they_are_followed_and_shown(
        self, hosts: Hosts, more: Hosts, programs: Programs
    ) -> None:
        client = programs.client(hosts.url, "-v", "--auth", "u:p", "-b", "a=b", "-H", "X-Key: k")
        hosts.next().answer("307 Temporary Redirect", "Location: /there\r\n")
        host = hosts.next()
        assert host.head.startswith("GET /there ")
        for secret in ("Authorization: Basic dTpw", "Cookie: a=b", "X-Key: k"):
            assert secret in host.head
        host.answer("302 Found", f"Location: {more.url}\r\n")
        host = more.next()
        for secret in ("Authorization", "Cookie", "X-Key"):
            assert secret not in host.head
        greeted(client, host)
        shown = client.stderr.text
        assert shown.count("* connecting to ") == 3
        assert "< Location: /there\n" in shown
        assert "dTpw" not in shown

    def test_one_to_itself_ends(self, hosts: Hosts, programs: Programs) -> None:
        client = programs.client(hosts.url, "--max-redirects", "2")
        for _ in range(3):
            hosts.next().answer("301 Moved", f"Location: {hosts.url}\r\n")
        failed(client, 5, "at most 2 redirects are followed")

    @pytest.mark.parametrize(
        ("location", "words"),
        [("file:///etc/passwd", "is not allowed"), ("ws+unix:/run/x.sock", "unix socket")],
    )
    def test_not_to_what_is_no_server(
        self, hosts: Hosts, programs: Programs, location: str, words: str
    ) -> None:
        client = programs.client(hosts.url)
        hosts.next().answer("302 Found", f"Location: {location}\r\n")
        failed(client, 5, words)

    def test_not_from_tls_to_without(
        self, authority: Authority, secure: Secure, hosts: Hosts, programs: Programs
    ) -> None:
        server = secure(*authority.certificate())
        client = programs.client(f"wss://localhost:{server.port}/", "--ca", authority.file)
        server.next().answer("302 Found", f"Location: {hosts.url}\r\n")
        failed(client, 5, "must not lead from TLS to an unprotected connection")


_PPROXY = """
import asyncio
asyncio.set_event_loop(asyncio.new_event_loop())  # which it takes for granted, until Python 3.13
from pproxy.server import main
main()
"""


class Proxies:
    """Proxies of pproxy, a program of its own."""

    def __init__(self, programs: Programs) -> None:
        need(importlib.util.find_spec("pproxy") is not None, "pproxy")
        self._programs = programs

    def start(self, scheme: str, *options: str | Path, login: str = "") -> int:
        """A proxy's port."""
        port = free_port()
        where = f"{scheme}://127.0.0.1:{port}{f'#{login}' if login else ''}"
        command = [sys.executable, "-c", _PPROXY, "-l", where, "-v", *options]
        proxy = self._programs.start(*command)
        wait_until(lambda: can_connect(port) or proxy.process.poll() is not None, "the proxy")
        assert proxy.process.poll() is None, proxy.stderr.text
        return port


@pytest.fixture
def proxies(programs: Programs) -> Proxies:
    return Proxies(programs)


class TestProxies:
    @pytest.mark.parametrize("login", ["", "user:secret"], ids=["open", "locked"])
    @pytest.mark.parametrize("scheme", ["http", "socks5", "socks5h"])
    def test_through_one(
        self, hosts: Hosts, programs: Programs, proxies: Proxies, scheme: str, login: str
    ) -> None:
        port = proxies.start(scheme.rstrip("h"), login=login)
        given = f"{scheme}://{login}{'@' if login else ''}127.0.0.1:{port}"
        client = programs.client(hosts.url, "--proxy", given, "-v")
        greeted(client, hosts.next())
        assert f"* through the proxy {scheme}://127.0.0.1:{port}\n" in client.stderr.text
        assert "secret" not in client.stderr.text

    @pytest.mark.parametrize("scheme", ["http", "socks5h"])
    def test_tls_goes_through(
        self,
        authority: Authority,
        secure: Secure,
        programs: Programs,
        proxies: Proxies,
        scheme: str,
    ) -> None:
        server = secure(*authority.certificate())
        given = f"{scheme}://127.0.0.1:{proxies.start(scheme.rstrip('h'))}"
        client = programs.client(
            *(f"wss://localhost:{server.port}/", "--ca", authority.file),
            environment={"https_proxy": given},
        )
        greeted(client, server.next())

    def test_tls_to_the_proxy_and_through_it(
        self, authority: Authority, secure: Secure, programs: Programs, proxies: Proxies
    ) -> None:
        server = secure(*authority.certificate())
        key, certificate = authority.certificate("127.0.0.1")
        port = proxies.start("http+ssl", "--ssl", f"{certificate},{key}")
        url, proxy = f"wss://localhost:{server.port}/", f"https://127.0.0.1:{port}"
        client = programs.client(url, "--ca", authority.file, "--proxy", proxy)
        greeted(client, server.next())
        client = programs.client(url, "--insecure", "--proxy", proxy)
        assert client.wait() == 4
        assert f"TLS with the proxy {proxy} failed" in client.stderr.text

    def test_the_environments_unless_it_exempts_the_host(
        self, hosts: Hosts, programs: Programs
    ) -> None:
        environment = {"http_proxy": f"http://127.0.0.1:{free_port()}"}
        failed(
            programs.client(hosts.url, environment=environment),
            *(3, environment["http_proxy"], "connection refused"),
        )
        environment["no_proxy"] = "example.com, 127.0.0.0/8"
        greeted(programs.client(hosts.url, environment=environment), hosts.next())
        del environment["no_proxy"]
        greeted(programs.client(hosts.url, "--proxy", "", environment=environment), hosts.next())

    @pytest.mark.parametrize(
        ("scheme", "answers", "words"),
        [
            ("http", b"HTTP/1.1 407 Locked\r\n\r\n", "407 Locked; it wants a name and password"),
            ("http", b"SSH-2.0-x\r\n\r\n", "its answer is malformed"),
            (
                "http",
                b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 99_999,
                "head of its answer is too long",
            ),
            ("http", b"", "it broke off"),
            ("socks5", b"\5\xff", "it wants a name and password"),
            ("socks5", b"\4\0", "it does not speak SOCKS 5"),
            ("socks5", b"\5\0\5\1", "it says: the proxy failed"),
        ],
        ids=["407", "garbage", "endless", "end", "locked", "socks4", "failure"],
    )
    def test_one_that_will_not(
        self, programs: Programs, scheme: str, answers: bytes, words: str
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            client = programs.client(
                "ws://a.example/",
                "--proxy",
                f"{scheme}://127.0.0.1:{port}",
                *("--resolve", "a.example:80:127.0.0.1"),
            )
            listener.settimeout(PATIENCE)
            accepted = listener.accept()[0]
            accepted.recv(9999)
            sender = threading.Thread(target=_send, args=(accepted, answers))
            sender.start()
            failed(client, 3, f"the proxy {scheme}://127.0.0.1:{port}", words)
            sender.join()

    def test_one_that_says_nothing(self, more: Hosts, programs: Programs) -> None:
        proxy = more.url.replace("ws:", "http:").partition("/path")[0]
        client = programs.client("ws://a.example/", "--proxy", proxy, "--connect-timeout", "0.5")
        failed(client, 3, "no answer", proxy)


def _send(to: socket.socket, octets: bytes) -> None:
    with contextlib.suppress(OSError), to:
        to.sendall(octets)
        if octets:
            while to.recv(9999):
                pass
