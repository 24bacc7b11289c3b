"""certificate.py: the user in one field of a certificate, and nobody in any doubt."""

from __future__ import annotations

import ssl
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from wsservice.auth.certificate import FIELDS, CertificateUser, open_certificate
from wsservice.auth.contract import Credential, Form, User, Verdict
from wsservice.auth.kinds import open_authenticator
from wsservice.config.config import Config
from wsservice.errors import ConfigError
from wsservice.http.refusal import Refusal

from ...certificates import Authority
from ...examples import examples

_CN, _OU = x509.NameOID.COMMON_NAME, x509.NameOID.ORGANIZATIONAL_UNIT_NAME
SECURED: Any = {"tls_cert": ("c.pem",), "tls_client_ca": "ca.pem"}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


def subject(*values: tuple[x509.ObjectIdentifier, str]) -> x509.Name:
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in values])


def shown(
    authority: Authority, field: str, name: x509.Name, *names: x509.GeneralName
) -> tuple[Verdict, x509.Certificate]:
    """Return the verdict on a certificate with a subject and a SAN."""
    _, file = authority.signed("client", name, list(names))
    text = file.read_text()
    request: Any = None
    verdict = CertificateUser(field).check(Credential(Form.CERTIFICATE, text, "TLS"), request)
    return verdict, x509.load_pem_x509_certificate(text.encode())


ALL = (
    x509.RFC822Name("tom@app.example"),
    x509.DNSName("tom.app.example"),
    x509.UniformResourceIdentifier("spiffe://app.example/tom"),
)


@pytest.mark.parametrize(
    ("field", "id_"),
    [
        ("cn", "Tom Tester"),
        ("subject", "CN=Tom Tester,OU=Tests"),
        ("san-email", "tom@app.example"),
        ("san-dns", "tom.app.example"),
        ("san-uri", "spiffe://app.example/tom"),
    ],
)
def test_each_field_names_a_user_until_the_certificate_ends(
    authority: Authority, field: str, id_: str
) -> None:
    name = subject((_OU, "Tests"), (_CN, "Tom Tester"))
    verdict, certificate = shown(authority, field, name, *ALL)
    assert verdict == User(id_, expires=certificate.not_valid_after_utc.timestamp())
    assert isinstance(verdict, User)
    assert dict(verdict.claims) == {}


def problem(verdict: Verdict) -> str:
    assert isinstance(verdict, Refusal)
    assert verdict.status == 401
    return verdict.problem


@pytest.mark.parametrize("field", FIELDS)
def test_no_value_is_nobody(authority: Authority, field: str) -> None:
    verdict, _ = shown(authority, field, subject())
    assert problem(verdict) == f"the client's certificate has no {FIELDS[field][0]}"


@pytest.mark.parametrize("field", ["cn", "san-email", "san-dns", "san-uri"])
def test_several_values_are_nobody(authority: Authority, field: str) -> None:
    name = subject((_CN, "tom"), (_CN, "admin"))
    others = (
        x509.RFC822Name("admin@app.example"),
        x509.DNSName("admin"),
        x509.UniformResourceIdentifier("urn:admin"),
    )
    verdict, _ = shown(authority, field, name, *ALL, *others)
    assert problem(verdict) == f"the client's certificate has more than one {FIELDS[field][0]}"


def test_a_name_is_not_taken_from_another_field(authority: Authority) -> None:
    verdict, _ = shown(authority, "san-dns", subject((_CN, "tom")), x509.RFC822Name("a@b.example"))
    assert "no DNS name" in problem(verdict)


@pytest.mark.parametrize("text", ["tom\0admin", "a\nb", "\x1b[31m", "a\u2028b", "\x85"])
def test_control_characters_are_refused_and_not_repeated(authority: Authority, text: str) -> None:
    verdict, _ = shown(authority, "subject", subject((_OU, text), (_CN, "tom")))
    assert problem(verdict) == "the client's certificate cannot be read"
    for field in ("cn", "san-dns"):
        names = [x509.DNSName(text)] if text.isascii() else []
        verdict, _ = shown(authority, field, subject((_CN, text)), *names)
        if names or field == "cn":
            said = problem(verdict)
            assert "control character" in said
            assert said.isprintable()
            assert "tom" not in said


def test_what_cannot_be_read_is_nobody() -> None:
    request: Any = None
    for text in ("", "x", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
        verdict = CertificateUser("cn").check(Credential(Form.CERTIFICATE, text, "TLS"), request)
        assert problem(verdict) == "the client's certificate cannot be read"


def test_a_broken_extension_is_nobody(authority: Authority) -> None:
    _, file = authority.signed("client", subject((_CN, "tom")), [x509.DNSName("tomtomtom")])
    der = x509.load_pem_x509_certificate(file.read_bytes()).public_bytes(Encoding.DER)
    # The tag of the name becomes that of a string, which no SAN has.
    broken = der.replace(b"\x82\x09tomtomtom", b"\x1f\x09tomtomtom")
    assert broken != der
    request: Any = None
    credential = Credential(Form.CERTIFICATE, ssl.DER_cert_to_PEM_cert(broken), "TLS")
    assert problem(CertificateUser("san-dns").check(credential, request)) == (
        "the client's certificate cannot be read"
    )


@examples(30)
@given(text=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=16))
def test_any_text_is_the_id_itself_or_refused(authority: Authority, text: str) -> None:
    verdict, _ = shown(authority, "cn", subject((_CN, text)))
    if isinstance(verdict, User):
        assert verdict.id == text
    else:
        assert problem(verdict).isprintable()


class TestSettings:
    def test_it_is_a_kind_of_auth(self) -> None:
        config = Config(auth=("tls:san-uri",), **SECURED)
        assert open_authenticator("tls:san-uri", config, None) == CertificateUser("san-uri")

    @pytest.mark.parametrize("field", ["", "CN", "san", "cn "])
    def test_other_fields_are_refused(self, field: str) -> None:
        with pytest.raises(ConfigError) as caught:
            open_certificate(field, Config(**SECURED), None)
        assert str(caught.value) == (
            f"--auth: 'tls:{field}' is not allowed; give tls:cn, tls:subject, tls:san-email,"
            " tls:san-dns or tls:san-uri"
        )

    def test_without_authorities_it_is_refused_at_the_start_and_at_a_reload(self) -> None:
        for refused in (
            lambda: open_certificate("cn", Config(), None),
            lambda: CertificateUser("cn").prepare(Config()),
        ):
            with pytest.raises(ConfigError, match="--auth: tls is not allowed without --tls-cl"):
                refused()
        assert CertificateUser("cn").prepare(Config(**SECURED))() is None

    @pytest.mark.parametrize(
        ("settings", "all_"),
        [
            ({}, True),
            ({"auth": ("tls:cn",)}, True),
            ({"auth": ("tokens:x",)}, True),
            ({"auth": ("tls:cn", "tokens:x")}, False),
            ({"auth": ("tls:cn",), "auth_optional": True}, False),
            ({"auth": ("tokens:x",), "auth_optional": True}, False),
        ],
    )
    def test_who_needs_a_certificate(self, settings: dict[str, Any], all_: bool) -> None:
        assert Config(**SECURED, **settings).asks_certificates_of_all is all_
