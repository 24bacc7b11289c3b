from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from OpenSSL import SSL
from twisted.internet.ssl import CertificateOptions

from wsservice.errors import ConfigError
from wsservice.net.certificate import ServerTLS, read_certificate

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
