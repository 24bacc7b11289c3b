"""The client in scripts: what ends a run, and with which status, and what it does to pipes."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
import zlib
from pathlib import Path

import pytest

from ..needs import need, need_program
from .processes import BIN, PATIENCE, Program, Programs
from .test_client_program import Hosts, failed, hosts
from .wire import BINARY, TEXT, Closed, Host, frame

__all__ = ["hosts"]


def opened(hosts: Hosts, programs: Programs, *options: str, **how: object) -> tuple[Program, Host]:
    """The client, whose standard input has no end unless told otherwise, and its server."""
    client = programs.client(hosts.url, *options, **{"stdin": subprocess.PIPE, **how})
    return client, hosts.next().accept()


def end_in_order(host: Host, code: int = 1000) -> None:
    """Answer the client's close."""
    assert host.receive() == Closed(1000, "")
    host.send_close(code)
    host.end()


class TestGoals:
    def test_so_many_messages_are_printed_and_no_more(
        self, hosts: Hosts, programs: Programs
    ) -> None:
        client, host = opened(hosts, programs, "--count", "2")
        host.socket.sendall(b"".join(frame(TEXT, b"%d" % each, False) for each in range(9)))
        end_in_order(host)
        assert client.wait() == 0
        assert client.stdout.text == "0\n1\n"
        assert client.stderr.text == ""

    def test_the_message_that_matches_is_the_last(self, hosts: Hosts, programs: Programs) -> None:
        client, host = opened(hosts, programs, "--until", '"done": *true', "-m", "begin")
        assert host.receive() == "begin"
        for text in ('{"done": false}', '{"done": true}', "more"):
            host.send(text)
        end_in_order(host)
        assert client.wait() == 0
        assert client.stdout.text == '{"done": false}\n{"done": true}\n'

    def test_the_end_of_input_does_not_close_before_the_answers_came(
        self, hosts: Hosts, programs: Programs
    ) -> None:
        client, host = opened(hosts, programs, "--count", "1", "-m", "ask", stdin=None)
        assert host.receive() == "ask"
        time.sleep(0.3)
        assert client.process.poll() is None
        host.send("answer")
        end_in_order(host)
        assert client.wait() == 0
        assert client.stdout.text == "answer\n"

    def test_too_few_messages_are_status_7(self, hosts: Hosts, programs: Programs) -> None:
        client, host = opened(hosts, programs, "--count", "3")
        host.send("1")
        host.send_close(1000)
        host.receive()
        host.end()
        failed(client, 7, "closed with 1000 after 1 of 3 messages")
        assert client.stdout.text == "1\n"

    def test_no_match_is_status_7(self, hosts: Hosts, programs: Programs) -> None:
        client, host = opened(hosts, programs, "--until", "x")
        host.send_close(1001)
        host.receive()
        host.end()
        failed(client, 7, "closed with 1001 before a message matched")

    @pytest.mark.parametrize(
        ("code", "status", "said"),
        [(4001, 0, ""), (1000, 7, "1000, not with 4001"), (4002, 8, "4002, not with 4001")],
    )
    def test_a_close_that_is_expected(
        self, hosts: Hosts, programs: Programs, code: int, status: int, said: str
    ) -> None:
        client, host = opened(hosts, programs, "--expect-close", "4001", stdin=None)
        host.send_close(code)
        assert host.receive() == Closed(code, "")
        host.end()
        assert client.wait() == status
        assert said in client.stderr.text
        assert bool(client.stderr.text) == bool(said)

    def test_linger_waits_for_answers_after_the_end_of_input(
        self, hosts: Hosts, programs: Programs
    ) -> None:
        client = programs.client(hosts.url, "--linger", "0.7", "-m", "ask")
        host = hosts.next()
        begun = time.monotonic()
        host.accept()
        assert host.receive() == "ask"
        host.send("answer")
        end_in_order(host)
        assert time.monotonic() - begun > 0.5
        assert client.wait() == 0
        assert client.stdout.text == "answer\n"


class TestTimeout:
    def test_a_handshake_that_is_not_answered(self, hosts: Hosts, programs: Programs) -> None:
        client = programs.client(hosts.url, "--timeout", "0.5")
        hosts.next()
        failed(client, 7, "timed out after 0.5 s while connecting")

    def test_a_message_that_does_not_come(self, hosts: Hosts, programs: Programs) -> None:
        client, host = opened(hosts, programs, "--timeout", "2", "--count", "2")
        host.send("1")
        assert host.receive() == Closed(1000, "")
        failed(client, 7, "timed out after 2 s after 1 of 2 messages")
        assert client.stdout.text == "1\n"

    def test_output_that_nobody_reads(self, hosts: Hosts, programs: Programs) -> None:
        reading, writing = os.pipe()
        client, host = opened(hosts, programs, "--timeout", "2", stdin=None, stdout=writing)
        os.close(writing)
        host.send("x" * 100_000)
        end_in_order(host)
        failed(client, 7, "timed out after 2 s")
        os.close(reading)

    def test_a_close_that_is_not_answered(self, hosts: Hosts, programs: Programs) -> None:
        client, host = opened(hosts, programs, "--close-timeout", "0.5", stdin=None)
        assert host.receive() == Closed(1000, "")
        failed(client, 7, "did not answer our close within 0.5 s")


class TestForms:
    def test_files_are_binary_messages(self, hosts: Hosts, programs: Programs) -> None:
        file = programs.folder / "file"
        file.write_bytes(b"\0\xff\n")
        client, host = opened(hosts, programs, "-m", "1", "-f", str(file), "-m", "2", stdin=None)
        assert [host.receive() for _ in range(3)] == ["1", b"\0\xff\n", "2"]
        end_in_order(host)
        assert client.wait() == 0

    def test_large_files_wait_for_room(self, hosts: Hosts, programs: Programs) -> None:
        file = programs.folder / "file"
        content = os.urandom(3_000_000)
        file.write_bytes(content)
        client, host = opened(hosts, programs, *["-f", str(file)] * 4, stdin=None)
        time.sleep(0.3)  # in which the send buffer fills
        assert [host.receive() == content for _ in range(4)] == [True] * 4
        end_in_order(host)
        assert client.wait() == 0

    def test_nul_ends_messages_both_ways(self, hosts: Hosts, programs: Programs) -> None:
        client, host = opened(hosts, programs, "--null")
        pipe = client.process.stdin
        assert pipe is not None
        pipe.write(b"a\nb\0c")
        pipe.close()
        assert [host.receive(), host.receive()] == ["a\nb", "c"]
        host.send("d\ne\n")
        end_in_order(host)
        assert client.wait() == 0
        assert client.stdout.path.read_bytes() == b"d\ne\n\0"

    @pytest.mark.parametrize(
        ("form", "printed"), [("raw", b"\0\xff\n"), ("hex", b"00ff\n"), ("base64", b"AP8=\n")]
    )
    def test_binary_messages(
        self, hosts: Hosts, programs: Programs, form: str, printed: bytes
    ) -> None:
        client, host = opened(hosts, programs, "--binary", form, stdin=None)
        host.send(b"\0\xff")
        end_in_order(host)
        assert client.wait() == 0
        assert client.stdout.path.read_bytes() == printed


def redirected(programs: Programs, redirections: str, url: str, *options: str) -> Program:
    """The client, started by a shell with redirections."""
    shell = need_program("sh")
    script = f'exec "$0" -m wsservice.client "$@" {redirections}'
    return programs.start(shell, "-c", script, sys.executable, url, *options)


class TestPipes:
    def test_closed_standard_input_is_the_end(self, hosts: Hosts, programs: Programs) -> None:
        client = redirected(programs, "<&-", hosts.url, "-m", "hi")
        host = hosts.next().accept()
        assert host.receive() == "hi"
        host.send("and out")
        end_in_order(host)
        assert client.wait() == 0
        assert client.stdout.text == "and out\n"

    def test_closed_standard_error_changes_nothing(self, hosts: Hosts, programs: Programs) -> None:
        client = redirected(programs, "2>&-", hosts.url, "-m", "hi")
        host = hosts.next().accept()
        assert host.receive() == "hi"
        host.send("fine")
        assert host.receive() == Closed(1000, "")
        host.send_close(4001)
        host.end()
        assert client.wait() == 8
        assert client.stdout.text == "fine\n"

    @pytest.mark.parametrize(
        ("redirection", "why"), [(">&-", "Bad file descriptor"), (">/dev/full", "No space left")]
    )
    def test_standard_output_that_cannot_be_written_is_status_1(
        self, hosts: Hosts, programs: Programs, redirection: str, why: str
    ) -> None:
        need(os.path.exists("/dev/full"), "/dev/full")
        client = redirected(programs, redirection, hosts.url, "--count", "5")
        host = hosts.next().accept()
        host.send("lost")
        end_in_order(host)
        failed(client, 1, "standard output cannot be written", why)

    def test_help_for_nobody_says_nothing(self, programs: Programs) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        client = programs.client("--help-all", stdout=writing)
        os.close(writing)
        client.wait()
        assert client.stderr.text == ""

    @pytest.mark.parametrize(
        ("lines", "size"), [(100_000, 5), (3_000, 4_000), (20, 1_000_000)], ids=str
    )
    def test_input_comes_back_whole_and_in_order(
        self, programs: Programs, lines: int, size: int
    ) -> None:
        server = programs.twistd("--port", "0", "--protocol", "echo")
        file = programs.folder / "lines"
        file.write_text("".join(f"{number:0{size}}\n" for number in range(lines)))
        url = f"ws://localhost:{server.port}/"
        with file.open("rb") as stdin:
            client = programs.client(url, stdin=stdin)
        assert client.wait(60) == 0, client.stderr.text
        assert client.stdout.path.read_bytes() == file.read_bytes()

    # So much fits into what the kernel buffers, and the input ends while nobody reads; and
    # so much that neither end could write before the other has read.
    @pytest.mark.parametrize("lines", [3_000, 40_000])
    def test_a_slow_reader_gets_all_of_it(self, programs: Programs, lines: int) -> None:
        """Longer than the close timeout nothing is read, while both ends have much to say."""
        server = programs.twistd("--port", "0", "--protocol", "echo")
        file = programs.folder / "lines"
        file.write_text("".join(f"{number:0999}\n" for number in range(lines)))
        reading, writing = os.pipe()
        with file.open("rb") as stdin:
            client = programs.client(
                *(f"ws://localhost:{server.port}/", "--close-timeout", "0.5"),
                stdin=stdin,
                stdout=writing,
            )
        os.close(writing)
        time.sleep(2)
        with os.fdopen(reading, "rb") as output:
            assert output.read() == file.read_bytes()
        assert client.wait() == 0, client.stderr.text
        assert client.stderr.text == ""


def peak(client: Program) -> int:
    """The most memory that a process had, in octets."""
    status = Path(f"/proc/{client.process.pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found
    return int(found[1]) * 1024


class TestHostile:
    """Servers that mean harm, once the connection is open."""

    def test_a_flood_that_nobody_reads_takes_no_memory(
        self, hosts: Hosts, programs: Programs
    ) -> None:
        need(sys.platform == "linux", "/proc")
        reading, writing = os.pipe()
        client, host = opened(hosts, programs, stdout=writing)
        os.close(writing)
        host.send("x")
        assert os.read(reading, 2) == b"x\n"
        before = peak(client)
        flood = b"".join(frame(TEXT, b"%d" % each, False) for each in range(100_000))
        host.socket.setblocking(False)
        taken = 0
        idle = time.monotonic()
        while time.monotonic() - idle < 1 and taken < 200_000_000:
            try:
                taken += host.socket.send(flood[taken % len(flood) :])
                idle = time.monotonic()
            except BlockingIOError:
                select.select([], [host.socket], [], 0.2)
        assert taken < 50_000_000, "the program reads what nobody prints"
        assert peak(client) - before < 40_000_000
        os.close(reading)
        host.end()
        assert client.wait() == 0

    def test_a_second_interrupt_ends_what_nobody_reads(
        self, hosts: Hosts, programs: Programs
    ) -> None:
        reading, writing = os.pipe()
        client, host = opened(hosts, programs, stdout=writing)
        os.close(writing)
        host.send("x" * 500_000)
        assert os.read(reading, 1) == b"x"
        client.signal(signal.SIGINT)
        assert host.receive() == Closed(1000, "")
        host.send("y" * 500_000)
        host.send_close(1000)
        host.end()
        time.sleep(0.2)
        assert client.process.poll() is None
        client.signal(signal.SIGINT)
        assert client.wait() == 130
        os.close(reading)

    def test_a_message_over_the_limit(self, hosts: Hosts, programs: Programs) -> None:
        client, host = opened(hosts, programs)
        host.socket.sendall(frame(BINARY, b"", False)[:1] + b"\x7f" + (1 << 40).to_bytes(8, "big"))
        assert host.receive() == Closed(1009, "message too big")
        host.end()
        failed(client, 8, "closed with 1009: message too big")

    def test_a_bomb(self, hosts: Hosts, programs: Programs) -> None:
        need(sys.platform == "linux", "/proc")
        client = programs.client(hosts.url, "--compression", "on", stdin=subprocess.PIPE)
        host = hosts.next()
        assert "permessage-deflate" in host.head
        host.accept("Sec-WebSocket-Extensions: permessage-deflate\r\n")
        host.send("ready")
        client.stdout.wait_for("ready\n")
        before = peak(client)
        deflate = zlib.compressobj(9, wbits=-15)
        bomb = b"".join(deflate.compress(bytes(1 << 20)) for _ in range(300))
        bomb += deflate.flush(zlib.Z_SYNC_FLUSH)[:-4]
        host.socket.sendall(b"\xc1" + frame(TEXT, bomb, False)[1:])
        assert host.receive_close().code == 1009
        assert peak(client) - before < 20_000_000
        host.end()
        failed(client, 8, "closed with 1009: ")
        assert client.stdout.text == "ready\n"

    def test_compression_that_was_not_asked_for(self, hosts: Hosts, programs: Programs) -> None:
        client = programs.client(hosts.url, stdin=subprocess.PIPE)
        host = hosts.next()
        assert "permessage-deflate" not in host.head
        host.accept("Sec-WebSocket-Extensions: permessage-deflate\r\n")
        failed(client, 5)

    def test_fragments_without_end(self, hosts: Hosts, programs: Programs) -> None:
        client, host = opened(hosts, programs)
        host.socket.sendall(b"\x01\x00" + b"\x00\x00" * 2000)
        assert host.receive() == Closed(1008, "too many fragments")
        host.end()
        failed(client, 8, "closed with 1008: too many fragments")

    def test_what_is_no_websocket(self, hosts: Hosts, programs: Programs) -> None:
        client, host = opened(hosts, programs)
        host.socket.sendall(b"\xff\xff\x1b[2J rubbish")
        assert host.receive_close().code == 1002
        host.end()
        failed(client, 8, "closed with 1002: ")
        assert "\x1b" not in client.stderr.text

    def test_text_that_is_none(self, hosts: Hosts, programs: Programs) -> None:
        client, host = opened(hosts, programs)
        host.socket.sendall(frame(TEXT, b"\xff\xfe", False))
        assert host.receive_close().code == 1007
        host.end()
        failed(client, 8, "closed with 1007: ")
        assert client.stdout.text == ""

    def test_a_server_that_ends_in_the_middle_of_a_message(
        self, hosts: Hosts, programs: Programs
    ) -> None:
        client, host = opened(hosts, programs)
        host.socket.sendall(frame(TEXT, b"whole", False) + frame(TEXT, b"not whole", False)[:-2])
        host.end()
        failed(client, 6, "lost without a close frame")
        assert client.stdout.text == "whole\n"

    def test_a_reset_is_a_loss_too(self, hosts: Hosts, programs: Programs) -> None:
        client, host = opened(hosts, programs, "-m", "ready")
        assert host.receive() == "ready"
        reset = b"\1\0\0\0\0\0\0\0"
        host.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        host.end()
        failed(client, 6, "lost without a close frame")


class TestConsoleScript:
    def test_it_is_the_same_program(self, hosts: Hosts, programs: Programs) -> None:
        client = programs.start(BIN / "wsclient", hosts.url, "-m", "hi")
        host = hosts.next().accept()
        assert host.receive() == "hi"
        end_in_order(host)
        assert client.wait() == 0

    def test_its_completion_is_read_by_bash(self, programs: Programs) -> None:
        bash = need_program("bash")
        client = programs.start(BIN / "wsclient", "--completion", "bash")
        assert client.wait() == 0, client.stderr.text
        ask = (
            f"source {client.stdout.path}\n"
            "COMP_WORDS=(wsclient --expe); COMP_CWORD=1; COMP_LINE='wsclient --expe'\n"
            "COMP_POINT=${#COMP_LINE}\n"
            "$(complete -p wsclient | sed 's/.*-F \\([^ ]*\\).*/\\1/') wsclient --expe wsclient\n"
            'echo "${COMPREPLY[@]}"\n'
        )
        done = subprocess.run([bash, "-c", ask], capture_output=True, text=True, timeout=PATIENCE)
        assert done.stdout == "--expect-close\n", done.stderr
