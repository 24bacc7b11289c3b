from __future__ import annotations

import contextlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL
from twisted.internet.interfaces import IProtocolNegotiationFactory
from twisted.internet.ssl import CertificateOptions
from zope.interface import implementer

from wsservice.errors import ConfigError
from wsservice.net.certificate import (
    ClientAuthorities,
    ServerTLS,
    read_authorities,
    read_certificate,
    read_certificates,
)

from ...certificates import Authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def refused(certificate: Path | str, key: Path | str | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        read_certificate(str(certificate), None if key is None else str(key))
    message = str(caught.value)
    assert message.isprintable()
    return message


def subjects(*certificates: Any) -> list[str]:
    return [each.subject.rfc4514_string() for each in certificates]


class TestRead:
    def test_key_and_certificate(self, authority: Authority) -> None:
        key, certificate = authority.certificate()
        options = read_certificate(str(certificate), str(key))
        assert subjects(options.certificate) == ["CN=localhost"]
        assert options.extraCertChain == []

    def test_a_chain_in_any_text_around_it(self, authority: Authority, tmp_path: Path) -> None:
        between = Authority(tmp_path, "Between", authority)
        key, certificate = between.certificate()
        chain = tmp_path / "chain.pem"
        chain.write_bytes(
            b"subject=it\n" + certificate.read_bytes() + b"\n# issuer\n" + between.file.read_bytes()
        )
        options = read_certificate(str(chain), str(key))
        assert subjects(*options.extraCertChain) == ["CN=Between"]

    @pytest.mark.parametrize("first", [0, 1])
    def test_the_key_may_be_in_the_same_file(
        self, authority: Authority, tmp_path: Path, first: int
    ) -> None:
        files = authority.certificate()
        both = tmp_path / "both.pem"
        both.write_bytes(files[first].read_bytes() + files[1 - first].read_bytes())
        assert read_certificate(str(both), None).privateKey is not None

    def test_older_versions_and_weaker_ciphers_are_not_spoken(self, authority: Authority) -> None:
        key, certificate = authority.certificate()
        context = read_certificate(str(certificate), str(key)).getContext()
        connection = SSL.Connection(context)
        names = connection.get_cipher_list()
        assert names
        assert all("GCM" in name or "CHACHA20" in name for name in names)
        assert all(name.startswith(("TLS_", "ECDHE-")) for name in names)


class TestWhatCannotBe:
    def test_a_file_that_cannot_be_read(self, authority: Authority, tmp_path: Path) -> None:
        assert refused(tmp_path / "no\nne") == (
            rf"--tls-cert: {tmp_path}/no\nne cannot be read, No such file or directory;"
            " give a file in PEM"
        )
        _, certificate = authority.certificate()
        assert refused(certificate, tmp_path).startswith(
            f"--tls-key: {tmp_path} cannot be read, Is a directory"
        )

    def test_files_without_what_they_are_to_have(self, authority: Authority) -> None:
        key, certificate = authority.certificate()
        assert refused(key).startswith(f"--tls-cert: {key} has no certificate;")
        assert refused(certificate).startswith(f"--tls-cert: {certificate} has no key;")
        assert refused(certificate, certificate).startswith(f"--tls-key: {certificate} has no key;")

    def test_what_is_there_but_broken(self, authority: Authority, tmp_path: Path) -> None:
        key, certificate = authority.certificate()
        broken = tmp_path / "broken.pem"
        for file, option in ((certificate, "--tls-cert"), (key, "--tls-key")):
            lines = file.read_bytes().splitlines()
            broken.write_bytes(b"\n".join([lines[0], b"AAAA", lines[-1]]))
            files = (broken, key) if file is certificate else (certificate, broken)
            assert "cannot be read; " in refused(*files)
            assert refused(*files).startswith(f"{option}: {broken} has a ")

    def test_a_key_that_is_encrypted_asks_nobody(self, authority: Authority) -> None:
        key, certificate = authority.certificate(password=b"secret")
        assert refused(certificate, key).startswith(
            f"--tls-key: {key} has an encrypted key; decrypt it"
        )

    def test_a_key_of_another_certificate(self, authority: Authority, tmp_path: Path) -> None:
        key, _ = authority.certificate("a.example")
        _, certificate = authority.certificate("b.example")
        said = f"--tls-key: {key} does not have the key of the first certificate in"
        assert refused(certificate, key).startswith(f"{said} {certificate} (")
        both = tmp_path / "both.pem"
        both.write_bytes(certificate.read_bytes() + key.read_bytes())
        assert refused(both).startswith(f"--tls-cert: {both} does not have the key of")


class TestServerTLS:
    def options(self, authority: Authority, host: str = "localhost") -> CertificateOptions:
        key, certificate = authority.certificate(host)
        return read_certificate(str(certificate), str(key))

    def test_another_certificate_takes_effect_with_the_second_step(
        self, authority: Authority
    ) -> None:
        first, second = self.options(authority), self.options(authority)
        tls = ServerTLS(first)
        commit = tls.prepare(ServerTLS(second))
        assert tls.options is first
        said = commit()
        assert tls.options is second
        certificate: Any = second.certificate
        assert said == f"valid until {certificate.not_valid_after_utc:%Y-%m-%d}"

    def test_the_same_certificate_is_no_change(self, authority: Authority) -> None:
        first = self.options(authority)
        assert ServerTLS(first).prepare(ServerTLS(first))() is None

    def test_one_without_its_key_is_refused_at_once(self, authority: Authority) -> None:
        first, second = self.options(authority, "a.example"), self.options(authority, "b.example")
        wrong = CertificateOptions(
            privateKey=first.privateKey,
            certificate=second.certificate,
        )
        with pytest.raises(SSL.Error):
            ServerTLS(wrong)
        with pytest.raises(SSL.Error):
            ServerTLS(first, [wrong])


class Handshake:
    """A client and a server that shake hands in memory."""

    client: SSL.Connection

    def __init__(
        self,
        tls: ServerTLS,
        authority: Authority,
        name: str = "",
        client: tuple[Path, Path] | None = None,
        version: int = SSL.TLS1_3_VERSION,
        before: Handshake | None = None,
    ) -> None:
        if before is None:
            context = SSL.Context(SSL.TLS_METHOD)
            context.set_max_proto_version(version)
            context.load_verify_locations(str(authority.file))
            context.set_verify(SSL.VERIFY_PEER)
        else:
            context = before.client.get_context()
        self.client = SSL.Connection(context, None)
        if client is not None:
            key, certificate = (file.read_bytes() for file in client)
            self.client.use_certificate(x509.load_pem_x509_certificate(certificate))
            self.client.use_privatekey(load_pem_private_key(key, None))  # type: ignore[arg-type]
        self.client.set_alpn_protos([b"h2", b"http/1.1"])
        if name:
            self.client.set_tlsext_host_name(name.encode())
        if before is not None:
            session = before.client.get_session()
            assert session is not None
            self.client.set_session(session)
        self.client.set_connect_state()
        factory = SimpleNamespace(wrappedFactory=Speaks())
        protocol: Any = SimpleNamespace(factory=factory)
        self.server = tls.serverConnectionForTLS(protocol)
        self.server.set_app_data(protocol)
        self.server.set_accept_state()

    def shake(self) -> Handshake:
        """Shake hands. Raises what the server finds wrong."""
        done = [False, False]
        for _ in range(10):
            for number, end in enumerate((self.client, self.server)):
                try:
                    end.do_handshake()
                    done[number] = True
                except SSL.WantReadError:
                    pass
                self._pass()
        assert all(done)
        return self

    def _pass(self) -> None:
        for one, other in ((self.client, self.server), (self.server, self.client)):
            with contextlib.suppress(SSL.WantReadError):
                other.bio_write(one.bio_read(1 << 20))

    @property
    def got(self) -> str:
        """The name in the certificate that the client got."""
        certificate = self.client.get_peer_certificate(as_cryptography=True)
        assert certificate is not None
        return certificate.subject.rfc4514_string()

    @property
    def shown(self) -> str | None:
        """The name in the certificate that the server got, None without one."""
        certificate = self.server.get_peer_certificate(as_cryptography=True)
        return None if certificate is None else certificate.subject.rfc4514_string()


@implementer(IProtocolNegotiationFactory)
class Speaks:
    def acceptableProtocols(self) -> list[bytes]:
        return [b"http/1.1"]


VERSIONS = [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION]


def several(authority: Authority, *hosts: str, ask: ClientAuthorities | None = None) -> ServerTLS:
    pairs = [authority.certificate(host) for host in hosts]
    keys, certificates = zip(*pairs, strict=True)
    return read_certificates([*map(str, certificates)], [*map(str, keys)], ask)


class TestNames:
    @pytest.mark.parametrize("version", VERSIONS)
    @pytest.mark.parametrize(
        ("name", "got"),
        [
            ("", "a.example"),
            ("a.example", "a.example"),
            ("b.example", "b.example"),
            ("B.Example", "b.example"),
            ("x.c.example", "*.c.example"),
            ("unknown.example", "a.example"),
            ("c.example", "a.example"),
        ],
    )
    def test_a_client_gets_the_one_that_it_asks_for(
        self, authority: Authority, name: str, got: str, version: int
    ) -> None:
        tls = several(authority, "a.example", "b.example", "*.c.example")
        hands = Handshake(tls, authority, name, version=version).shake()
        assert hands.got == f"CN={got}"
        assert hands.client.get_alpn_proto_negotiated() == b"http/1.1"

    def test_the_first_has_its_name_too(self, authority: Authority) -> None:
        tls = several(authority, "*.example", "a.example", "*.example")
        assert Handshake(tls, authority, "a.example").shake().got == "CN=a.example"
        assert Handshake(tls, authority, "b.example").shake().got == "CN=*.example"

    def test_a_key_in_each_file(self, authority: Authority, tmp_path: Path) -> None:
        files = []
        for host in ("a.example", "b.example"):
            key, certificate = authority.certificate(host)
            files.append(tmp_path / f"{host}.both")
            files[-1].write_bytes(key.read_bytes() + certificate.read_bytes())
        tls = read_certificates([*map(str, files)], [])
        assert Handshake(tls, authority, "b.example").shake().got == "CN=b.example"

    def test_a_wrong_one_of_several_is_named(self, authority: Authority) -> None:
        (one, first), (_, second) = map(authority.certificate, ("a.example", "b.example"))
        with pytest.raises(ConfigError, match=r"a\.example\.key does not have the key of"):
            read_certificates([str(first), str(second)], [str(one), str(one)])

    def test_a_change_says_which(self, authority: Authority) -> None:
        tls = several(authority, "a.example", "b.example")
        before = several(authority, "a.example", "b.example")
        renewed = several(authority, "c.example")
        mixed = ServerTLS(tls.options, [*tls.others, renewed.options])
        day = f"{tls.certificates[0].not_valid_after_utc:%Y-%m-%d}"
        assert tls.prepare(mixed)() == f"c.example valid until {day}"
        assert tls.prepare(before)() == (
            f"a.example valid until {day}, b.example valid until {day}, 1 fewer"
        )
        assert [each.certificate for each in tls.expiries("--port 1")] == ["a.example", "b.example"]
        assert {each.port for each in tls.expiries("--port 1")} == {"--port 1"}
        ends = tls.certificates[0].not_valid_after_utc.timestamp()
        assert tls.expiries("--port 1")[0].until == ends


@pytest.mark.parametrize("version", VERSIONS)
class TestClients:
    def asking(self, authority: Authority, is_required: bool = True) -> ServerTLS:
        ask = read_authorities(str(authority.file), is_required)
        return several(authority, "a.example", "b.example", ask=ask)

    @pytest.mark.parametrize("name", ["a.example", "b.example", ""])
    def test_a_certificate_of_the_authority_is_needed(
        self, authority: Authority, version: int, name: str
    ) -> None:
        tls = self.asking(authority)
        tom = authority.certificate("tom")
        hands = Handshake(tls, authority, name, tom, version).shake()
        assert hands.shown == "CN=tom"
        with pytest.raises(SSL.Error, match="peer did not return a certificate"):
            Handshake(tls, authority, name, None, version).shake()

    @pytest.mark.parametrize("name", ["a.example", "b.example"])
    @pytest.mark.parametrize("is_required", [True, False])
    def test_others_fail(
        self, authority: Authority, tmp_path: Path, version: int, name: str, is_required: bool
    ) -> None:
        tls = self.asking(authority, is_required)
        for wrong in (
            Authority(tmp_path, "Other").certificate("mallory"),
            authority.certificate("eve", expired=True),
        ):
            with pytest.raises(SSL.Error, match="certificate verify failed"):
                Handshake(tls, authority, name, wrong, version).shake()

    def test_where_it_may_be_left_out(self, authority: Authority, version: int) -> None:
        tls = self.asking(authority, is_required=False)
        assert Handshake(tls, authority, "b.example", None, version).shake().shown is None
        tom = authority.certificate("tom")
        assert Handshake(tls, authority, "b.example", tom, version).shake().shown == "CN=tom"

    def test_no_session_is_resumed_so_each_shows_its_own(
        self, authority: Authority, version: int
    ) -> None:
        tls = self.asking(authority, is_required=False)
        tom, ann = authority.certificate("tom"), authority.certificate("ann")
        for before in (tom, None):
            first = Handshake(tls, authority, "a.example", before, version).shake()
            first.server.write(b"so that the client reads tickets")
            first._pass()
            with contextlib.suppress(SSL.WantReadError):
                first.client.read(1000)
            for after, shown in ((ann, "CN=ann"), (None, None)):
                again = Handshake(tls, authority, "a.example", after, version, first).shake()
                assert again.shown == shown

    def test_other_authorities_are_told(
        self, authority: Authority, tmp_path: Path, version: int
    ) -> None:
        tls = self.asking(authority)
        other = Authority(tmp_path, "Other")
        ask = read_authorities(str(other.file), True)
        new = ServerTLS(tls.options, tls.others, ask)
        assert tls.prepare(new)() == "other authorities of clients"
        assert tls.prepare(ServerTLS(tls.options, tls.others, ask))() is None


def test_a_file_of_authorities_that_cannot_be(authority: Authority, tmp_path: Path) -> None:
    key, _ = authority.certificate()
    for file, words in (
        (key, "has no certificate"),
        (tmp_path / "none", "cannot be read, No such"),
    ):
        with pytest.raises(ConfigError, match=f"--tls-client-ca: .* {words}"):
            read_authorities(str(file), True)
    both = tmp_path / "both.pem"
    both.write_bytes(authority.file.read_bytes() * 2)
    assert len(read_authorities(str(both), True).certificates) == 2
