"""The files of a run: load generator, environments of the peers, certificate, payload."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path

from .errors import BenchmarkError
from .processes import ROOT

HERE = ROOT / "benchmarks"
BUILD = HERE / "build"
LOAD = BUILD / "load"
PEERS_PYTHON = ROOT / ".venv-bench" / "bin" / "python"


def _newer(made: Path, *sources: Path) -> bool:
    return made.exists() and all(
        made.stat().st_mtime >= source.stat().st_mtime for source in sources
    )


def _run(what: str, arguments: Sequence[str | Path], folder: Path = ROOT) -> None:
    done = subprocess.run(
        [str(each) for each in arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        said = [line.strip() for line in done.stdout.split("\n") if line.strip()]
        raise BenchmarkError(f"cannot {what}: {said[-1] if said else done.returncode}")


def load_generator(folder: Path = BUILD) -> Path:
    """Compile the load generator, unless that was done."""
    made = folder / LOAD.name
    source = HERE / "load.c"
    if _newer(made, source):
        return made
    compiler = shutil.which("cc")
    if compiler is None:
        raise BenchmarkError("there is no C compiler: apt-get install gcc libc6-dev")
    probe = subprocess.run(
        [compiler, "-E", "-x", "c", "-"],
        input="#include <openssl/ssl.h>\n",
        capture_output=True,
        text=True,
        check=False,
    )
    if probe.returncode:
        raise BenchmarkError("OpenSSL's headers are missing: apt-get install libssl-dev")
    folder.mkdir(exist_ok=True)
    _run("compile load.c", [compiler, "-O2", "-o", made, source, "-lssl", "-lcrypto"])
    return made


def python_peers() -> None:
    """An environment of their own for the Python peers, with pinned versions."""
    wanted = HERE / "requirements.txt"
    stamp = PEERS_PYTHON.parents[1] / ".installed"
    if _newer(stamp, wanted):
        return
    if not PEERS_PYTHON.exists():
        _run("make an environment", [sys.executable, "-m", "venv", PEERS_PYTHON.parents[1]])
    pip: list[str | Path] = [
        PEERS_PYTHON,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]
    _run("install the Python peers", [*pip, "-r", wanted])
    stamp.touch()


def node_peer() -> str:
    """npm's ws, installed; returns the path of node."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise BenchmarkError("there is no node and npm: apt-get install nodejs npm")
    stamp = HERE / "node_modules" / ".installed"
    if not _newer(stamp, HERE / "package.json"):
        quiet = ["--no-package-lock", "--no-audit", "--no-fund", "--silent"]
        _run("install ws", [npm, "install", *quiet], HERE)
        stamp.touch()
    return node


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate and its key, of ECDSA over P-256, for this run only."""
    certificate, key = folder / "cert.pem", folder / "key.pem"
    if not certificate.exists():
        openssl = shutil.which("openssl")
        if openssl is None:
            raise BenchmarkError("there is no openssl: apt-get install openssl")
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        files: list[str | Path] = ["-keyout", key, "-out", certificate]
        own = [openssl, "req", "-x509", *curve, "-nodes", "-days", "2", "-subj", "/CN=localhost"]
        _run("make a certificate", [*own, *files])
    return certificate, key


def text(size: int) -> bytes:
    """Text that compresses about as messages do."""
    parts = (
        b'{"id": %d, "user": "user-%d", "text": "message number %d"}, ' % (n, n * 7 % 100, n)
        for n in range(size // 16 + 1)
    )
    return b"".join(parts)[:size]


def compressed(folder: Path, size: int) -> Path:
    """The payload of a compressed message, which looks back at nothing before it (RFC 7692)."""
    made = folder / f"deflated-{size}"
    compressor = zlib.compressobj(wbits=-9)
    octets = compressor.compress(text(size)) + compressor.flush(zlib.Z_SYNC_FLUSH)
    made.write_bytes(octets.removesuffix(b"\x00\x00\xff\xff"))
    return made


def inflated(payload: bytes) -> bytes:
    """The message that a compressed payload stands for."""
    return zlib.decompressobj(wbits=-15).decompress(payload + b"\x00\x00\xff\xff")
