from __future__ import annotations

import hmac
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsservice.admin.tokens import ALL_RIGHTS, MOST_TOKENS, AdminTokens, Caller, Right
from wsservice.errors import ConfigError

from ...examples import examples
from ...support import Logged

SHOP, GRAFANA = "kQ7v2mZs9xT4bW8e", "x3N6pLr1uYd5cJ0h"

TABLE = f"""\
# The tokens of the shop, \u00fc and all.

grafana   read             {GRAFANA}
\tshop\tpublish,tickets  {SHOP}#!~\r
"""


def file(tmp_path: Path, content: str | bytes, mode: int = 0o600) -> str:
    path = tmp_path / "tokens"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(mode)
    return str(path)


def refused(path: str) -> str:
    with pytest.raises(ConfigError) as caught:
        AdminTokens.read(path)
    said = str(caught.value)
    assert said.startswith(f"--admin-token-file: {path}")
    assert said.isprintable()
    return said


class TestOneAlone:
    def test_it_has_all_rights_and_no_name(self, tmp_path: Path, logged: Logged) -> None:
        tokens = AdminTokens.read(file(tmp_path, b" s3cr3t/+=\n"))
        assert tokens.caller(b"s3cr3t/+=") == Caller("", ALL_RIGHTS)
        assert tokens.caller(b"s3cr3t/+") is None
        assert not tokens.named
        assert logged.text == ""

    @pytest.mark.parametrize("octets", [b"", b"\n \n"])
    def test_an_empty_file(self, tmp_path: Path, octets: bytes) -> None:
        assert "is empty; give one token alone, or lines of" in refused(file(tmp_path, octets))

    @pytest.mark.parametrize("octets", ["\u00e9".encode(), b"x\x00y", b"x" * 5000])
    def test_a_word_that_is_no_token(self, tmp_path: Path, octets: bytes) -> None:
        assert "has one word, which is no token" in refused(file(tmp_path, octets))

    def test_a_comment_is_no_token(self, tmp_path: Path) -> None:
        # Tokens that are all commented out must not leave a comment as one with all rights.
        assert "has only a comment" in refused(file(tmp_path, "#nobody\n"))
        assert "has only comments" in refused(file(tmp_path, "# nobody\n\n# at all\n"))

    def test_no_file(self, tmp_path: Path) -> None:
        assert "cannot be read, No such file" in refused(str(tmp_path / "absent"))
        assert "cannot be read, Is a directory" in refused(str(tmp_path))

    def test_one_that_everybody_may_write_is_refused(self, tmp_path: Path) -> None:
        assert "may be written by every user" in refused(file(tmp_path, "token", 0o602))

    @pytest.mark.parametrize("content", ["s3cr3t", TABLE])
    def test_one_that_everybody_may_read_is_logged(
        self, tmp_path: Path, logged: Logged, content: str
    ) -> None:
        AdminTokens.read(file(tmp_path, content, 0o644))
        assert logged.text.count("may be read by every user") == 1
        assert "s3cr3t" not in logged.text
        assert SHOP not in logged.text


class TestSeveral:
    def test_names_and_rights(self, tmp_path: Path) -> None:
        tokens = AdminTokens.read(file(tmp_path, TABLE))
        assert tokens.named
        assert tokens.caller(GRAFANA.encode()) == Caller("grafana", frozenset({Right.READ}))
        shop = Caller("shop", frozenset({Right.PUBLISH, Right.TICKETS}))
        assert tokens.caller(f"{SHOP}#!~".encode()) == shop
        for wrong in (SHOP, GRAFANA + " ", "", "grafana", TABLE):
            assert tokens.caller(wrong.encode()) is None

    def test_each_is_compared_whatever_is_given(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tokens = AdminTokens.read(file(tmp_path, TABLE))
        compared: list[tuple[bytes, bytes]] = []

        def compare(one: bytes, other: bytes) -> bool:
            compared.append((one, other))
            return one == other

        monkeypatch.setattr(hmac, "compare_digest", compare)
        for given_ in (GRAFANA, f"{SHOP}#!~", "x", "x" * 9000):
            compared.clear()
            tokens.caller(given_.encode())
            assert len(compared) == 2
            # Digests of one length: neither the length nor the beginning of a token shows.
            assert {len(each) for pair in compared for each in pair} == {32}

    def test_all_rights(self, tmp_path: Path) -> None:
        tokens = AdminTokens.read(file(tmp_path, f"anna all {SHOP}"))
        assert tokens.caller(SHOP.encode()) == Caller("anna", ALL_RIGHTS)

    @pytest.mark.parametrize(
        ("line", "problem"),
        [
            (SHOP, "it has 1 words in place of 3"),
            (f"shop {SHOP}", "it has 2 words in place of 3"),
            (f"shop read {SHOP} extra", "it has 4 words in place of 3"),
            (f"sh\u00f6p read {SHOP}", "the name needs 1 to 64 letters, digits, and . _ -"),
            (f"{'x' * 65} read {SHOP}", "the name needs"),
            (f"shop write {SHOP}", "there is an unknown right"),
            (f"shop read,all {SHOP}", "there is an unknown right"),
            (f"shop READ {SHOP}", "there is an unknown right"),
            (f"shop read, {SHOP}", "there is an unknown right"),
            (f"shop {SHOP} read", "the token is too short, it needs 16 characters or more"),
            (f"shop read {SHOP[1:]}", "the token is too short"),
            (f"shop read {SHOP}\u00e9", "the token needs up to 1024 characters"),
            (f"shop read {SHOP * 65}", "the token needs up to 1024 characters"),
            (f"shop read {SHOP}\x1b", "the token needs up to 1024 characters"),
            (f"grafana read {SHOP}", "the name is that of line 2 already"),
            (f"shop read {GRAFANA}", "the token is that of line 2 already"),
        ],
    )
    def test_a_line_that_is_wrong(self, tmp_path: Path, line: str, problem: str) -> None:
        said = refused(file(tmp_path, f"# one\ngrafana read {GRAFANA}\n\n{line}\nx all {SHOP}2\n"))
        assert f"tokens, line 4: {problem}" in said
        assert "are some of read,publish,close,tickets, or all" in said
        for secret in (SHOP, SHOP[:8], GRAFANA):
            assert secret not in said

    def test_there_are_bounds(self, tmp_path: Path) -> None:
        lines = [f"n{number} read {SHOP}{number}" for number in range(MOST_TOKENS + 1)]
        AdminTokens.read(file(tmp_path, "\n".join(lines[:-1])))
        assert "line 101: there are more than 100 tokens" in refused(
            file(tmp_path, "\n".join(lines))
        )
        assert "has more than 65536 bytes" in refused(file(tmp_path, "# x\n" * 20_000))

    def test_they_are_in_no_repr(self, tmp_path: Path) -> None:
        shown = repr(AdminTokens.read(file(tmp_path, TABLE)))
        assert SHOP not in shown
        assert "digest" not in shown
        assert "grafana" in shown

    def test_files_with_the_same_tokens_are_equal(self, tmp_path: Path) -> None:
        one = AdminTokens.read(file(tmp_path, TABLE))
        assert one == AdminTokens.read(file(tmp_path, "# other\n" + TABLE))
        assert one != AdminTokens.read(file(tmp_path, TABLE.replace("read ", "close")))
        assert one != AdminTokens.read(file(tmp_path, TABLE.replace(GRAFANA, GRAFANA + "2")))


class TestAnyFile:
    @examples(300)
    @given(st.binary(max_size=200))
    def test_it_is_read_or_refused_in_one_line(
        self, tmp_path_factory: pytest.TempPathFactory, octets: bytes
    ) -> None:
        path = file(tmp_path_factory.mktemp("any"), octets)
        problem = ""
        try:
            AdminTokens.read(path)
        except ConfigError as error:
            problem = str(error)
        assert problem.isprintable()
