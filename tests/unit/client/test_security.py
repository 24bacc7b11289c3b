"""TLS on connections in memory: a client with these settings, and a server of OpenSSL's."""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from OpenSSL import SSL
from service_identity import VerificationError

from wsservice.client.options import ClientConfig
from wsservice.client.security import EncryptedKeyError, HostSecurity, Security
from wsservice.errors import ConfigError

from ...certificates import Authority


class Failing:
    """Twisted's protocol, as far as it is told of a name that is wrong."""

    def __init__(self) -> None:
        self.problem: Any = None
        self.factory = SimpleNamespace(wrappedFactory=None)

    def failVerification(self, failure: Any) -> None:
        self.problem = failure.value


class Handshake:
    """One handshake. `said` is why it failed, "" if it did not."""

    def __init__(
        self,
        security: Security,
        server: tuple[Path, Path],
        host: str = "localhost",
        client_ca: Path | None = None,
        version: int = 0,
    ) -> None:
        context = SSL.Context(SSL.TLS_METHOD)
        context.use_privatekey_file(str(server[0]))
        context.use_certificate_chain_file(str(server[1]))
        if version:
            context.set_cipher_list(b"ALL:@SECLEVEL=0")
            context.set_max_proto_version(version)
        if client_ca is not None:
            context.load_verify_locations(str(client_ca))
            context.set_verify(
                SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *said: bool(said[4])
            )
        self.server = SSL.Connection(context)
        self.server.set_accept_state()
        self.security: HostSecurity = security.for_host(host)
        protocol = Failing()
        self.client = self.security.clientConnectionForTLS(protocol)
        self.client.set_connect_state()
        self.said = ""
        try:
            self._shake()
        except SSL.Error as error:
            self.said = self.security.why(protocol.problem or error)

    def _shake(self) -> None:
        for _ in range(5):
            for one, other in ((self.client, self.server), (self.server, self.client)):
                try:
                    one.do_handshake()
                    one.recv(1)
                except SSL.WantReadError:
                    pass
                except SSL.Error:
                    if one is self.client:
                        raise
                with contextlib.suppress(SSL.WantReadError):
                    other.bio_write(one.bio_read(9999))


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


_ANOTHER = "the certificate is not for this host"


class TestTrust:
    def test_whom_the_authority_vouches_for(self, authority: Authority) -> None:
        security = Security(ca=str(authority.file))
        shaken = Handshake(security, authority.certificate())
        assert shaken.said == ""
        assert shaken.server.get_servername() == b"localhost"
        version, subject, issuer, until = shaken.security.described()
        assert version.startswith("TLSv1.3, TLS_")
        assert (subject, issuer) == ("certificate of CN=localhost", "issued by CN=Test CA")
        assert until.startswith("good until 20")

    def test_an_address_is_verified_and_not_sent_as_a_name(self, authority: Authority) -> None:
        shaken = Handshake(
            Security(ca=str(authority.file)), authority.certificate("127.0.0.1"), "127.0.0.1"
        )
        assert (shaken.said, shaken.server.get_servername()) == ("", None)

    @pytest.mark.parametrize(
        ("host", "certified"),
        [
            ("my_service", "my_service"),
            ("r3---sn.cdn.example", "r3---sn.cdn.example"),
            ("r3---sn.cdn.example", "*.cdn.example"),
            ("my_service.example.", "my_service.example"),
            ("a.b.example.", "*.b.example"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("A.example", "a.example"),
        ],
    )
    def test_every_name_that_dns_may_have(
        self, authority: Authority, host: str, certified: str
    ) -> None:
        security = Security(ca=str(authority.file))
        shaken = Handshake(security, authority.certificate(certified), host)
        assert shaken.said == ""
        assert shaken.server.get_servername() == host.removesuffix(".").encode()

    @pytest.mark.parametrize(
        ("host", "certified"),
        [
            ("my_service", "my-service"),
            ("my_service.example", "another.example"),
            ("r3---sn.cdn.example", "cdn.example"),
            ("a.b.cdn.example", "*.cdn.example"),
            ("127.0.0.1", "localhost"),
            ("::1", "127.0.0.1"),
        ],
    )
    def test_none_that_is_for_another(
        self, authority: Authority, host: str, certified: str
    ) -> None:
        shaken = Handshake(Security(ca=str(authority.file)), authority.certificate(certified), host)
        assert shaken.said == f"{_ANOTHER}, it is for {certified}"

    def test_none_with_a_pattern_for_all_of_a_domain(self, authority: Authority) -> None:
        pair = authority.certificate("*.example")
        assert Handshake(Security(ca=str(authority.file)), pair, "a.example").said == _ANOTHER

    def test_not_one_without_a_name(self, authority: Authority) -> None:
        """Twisted's own way logs that it has none, and takes it."""
        pair = authority.certificate("localhost", named=False)
        assert Handshake(Security(ca=str(authority.file)), pair).said == _ANOTHER

    def test_an_address_with_a_zone_is_verified_without_it(self, authority: Authority) -> None:
        security = Security(ca=str(authority.file))
        pair = authority.certificate("fe80::1")
        assert Handshake(security, pair, "fe80::1%eth0").said == ""

    @pytest.mark.parametrize("host", ["a~b", "1234"])
    def test_a_name_that_no_certificate_can_have(self, host: str) -> None:
        with pytest.raises(ConfigError, match=f"^'{host}' is not allowed with TLS; no certificate"):
            Security().for_host(host)
        Security(insecure=True).for_host(host)

    def test_not_another_host(self, authority: Authority) -> None:
        shaken = Handshake(
            Security(ca=str(authority.file)), authority.certificate("elsewhere.example")
        )
        assert shaken.said == f"{_ANOTHER}, it is for elsewhere.example"

    def test_whom_it_is_for_is_shown_and_is_the_servers_own_text(
        self, authority: Authority
    ) -> None:
        for host in ("127.0.0.1", "elsewhere.example", "a\x1b[2J\n.example", "x" * 64):
            shaken = Handshake(Security(ca=str(authority.file)), authority.certificate(host))
            assert shaken.said.startswith(f"{_ANOTHER}, it is for ")
            assert shaken.said.isprintable()
            assert len(shaken.said) < 200

    def test_what_can_be_done_about_it(self) -> None:
        for words, cure in (
            ("certificate verify failed", "; give the certificate of its authority"),
            ("wrong version number", "; give a ws: URL for a server without TLS"),
            ("tlsv13 alert certificate required", "; give one by --cert"),
            ("unknown", ""),
        ):
            error = SSL.Error([("SSL routines", "", words)])
            assert HostSecurity().cure(error).startswith(cure)
            assert bool(HostSecurity().cure(error)) is bool(cure)

    def test_not_one_that_expired(self, authority: Authority) -> None:
        shaken = Handshake(Security(ca=str(authority.file)), authority.certificate(expired=True))
        assert shaken.said == "the certificate cannot be trusted: certificate has expired"

    def test_not_one_of_an_unknown_authority(self, authority: Authority, tmp_path: Path) -> None:
        other = Authority(tmp_path, "Other CA")
        shaken = Handshake(Security(ca=str(other.file)), authority.certificate())
        assert "unable to get local issuer certificate" in shaken.said

    def test_not_even_of_the_systems_where_others_are_named(self, authority: Authority) -> None:
        assert "unable to get local issuer" in Handshake(Security(), authority.certificate()).said

    def test_nothing_older_than_tls_1_2(self, authority: Authority) -> None:
        for security in (Security(ca=str(authority.file)), Security(insecure=True)):
            shaken = Handshake(security, authority.certificate(), version=SSL.TLS1_1_VERSION)
            assert "version" in shaken.said

    def test_insecure_takes_whatever_comes(self, authority: Authority) -> None:
        pair = authority.certificate("elsewhere.example", expired=True)
        shaken = Handshake(Security(insecure=True), pair)
        assert (shaken.said, shaken.server.get_servername()) == ("", b"localhost")
        assert Handshake(Security(insecure=True), pair, "::1").server.get_servername() is None


class TestIdentity:
    def test_a_server_that_wants_a_certificate_gets_it(
        self, authority: Authority, tmp_path: Path
    ) -> None:
        key, certificate = authority.certificate("me.example")
        both = tmp_path / "both.pem"
        both.write_bytes(certificate.read_bytes() + authority.file.read_bytes() + key.read_bytes())
        for files in (
            {"cert": str(certificate), "key": str(key)},
            {"cert": str(both)},
            {"cert": str(both), "insecure": True},
        ):
            security = Security(ca=str(authority.file), **files)
            shaken = Handshake(security, authority.certificate(), client_ca=authority.file)
            assert shaken.said == ""
            shown = shaken.server.get_peer_certificate()
            assert shown is not None
            assert shown.to_cryptography().subject.rfc4514_string() == "CN=me.example"

    def test_one_that_does_not_get_it_says_so(self, authority: Authority) -> None:
        shaken = Handshake(
            Security(ca=str(authority.file)), authority.certificate(), client_ca=authority.file
        )
        assert "the server asks for a client certificate" in shaken.said

    def test_a_key_may_be_encrypted(self, authority: Authority) -> None:
        key, certificate = map(str, authority.certificate("me.example", password=b"phrase"))
        Security(cert=certificate, key=key, password="phrase")
        with pytest.raises(EncryptedKeyError, match="needs a pass phrase"):
            Security(cert=certificate, key=key)
        with pytest.raises(ConfigError, match="no key that this pass phrase decrypts"):
            Security(cert=certificate, key=key, password="wrong")

    def test_a_phrase_that_is_not_needed_does_no_harm(self, authority: Authority) -> None:
        key, certificate = map(str, authority.certificate("me.example"))
        Security(cert=certificate, key=key, password="phrase")

    def test_files_that_cannot_be_used(self, authority: Authority, tmp_path: Path) -> None:
        key, certificate = map(str, authority.certificate("me.example"))
        other_key, _ = map(str, authority.certificate("you.example"))
        empty = tmp_path / "empty"
        empty.write_bytes(b"")
        for settings, problem in (
            ({"ca": "/nowhere\x1b"}, "--ca: cannot read '/nowhere\\x1b': No such file"),
            ({"ca": str(empty)}, "has no certificate in PEM"),
            ({"ca": key}, "has no certificate in PEM"),
            ({"cert": certificate}, "has no key in PEM"),
            ({"cert": certificate, "key": str(empty)}, "has no key in PEM"),
            ({"cert": certificate, "key": other_key}, "is not the key of the certificate"),
            ({"key": key}, "--key: a key alone is not allowed"),
        ):
            with pytest.raises(ConfigError) as caught:
                Security(**settings)  # type: ignore[arg-type]
            assert problem in str(caught.value)

    def test_they_are_those_of_the_settings(self) -> None:
        with pytest.raises(ConfigError, match="--ca: "):
            Security.of(ClientConfig(url="wss://a/", ca="/nowhere"))


class TestWhy:
    @pytest.mark.parametrize(
        ("error", "words"),
        [
            (SSL.Error([("SSL routines", "", "wrong version number")]), "does not speak it"),
            (SSL.Error([("SSL routines", "", "certificate verify failed")]), "verify failed"),
            (SSL.Error([("SSL routines", "", "a\x1b")]), r"a\x1b"),
            (SSL.Error(), "the server broke off"),
            (VerificationError(errors=[]), "the certificate is not for this host"),
            (None, "the server broke off"),
        ],
    )
    def test_in_words(self, error: BaseException | None, words: str) -> None:
        assert words in HostSecurity().why(error)

    def test_what_was_not_agreed_upon_is_not_described(self) -> None:
        assert HostSecurity().described() == []
