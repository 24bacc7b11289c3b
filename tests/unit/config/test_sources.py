from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsservice.config.config import OPTIONS, Config
from wsservice.config.fields import refuse, setting
from wsservice.config.sources import (
    Given,
    Settings,
    from_environment,
    from_file,
    from_options,
    gather,
)
from wsservice.config.units import SIZE_UNITS, TIME_UNITS
from wsservice.errors import ConfigError
from wsservice.escape import MASK

OPERATIONS = Path(__file__).parents[3] / "docs" / "operations.md"

A_TIME = f"seconds from 0 to 86400, or a time with {TIME_UNITS}"
A_SIZE = f"a whole number of bytes from 0, or a size with {SIZE_UNITS}"


def problem(octets: bytes, name: str = "ws.toml") -> str:
    """Return the error text of a file."""
    with pytest.raises(ConfigError) as caught:
        Settings.merged(from_file(octets, name))
    text = str(caught.value)
    assert text.isprintable()
    return text


class TestFile:
    def test_each_setting_goes_by_the_name_of_its_field(self) -> None:
        octets = b"""
            port = 9  # with a comment
            drain = 2
            ping_interval = 0.5
            compression = true
            greeting = "hi"
            listen = ["tcp:1", "unix:a b.sock"]
        """
        config = Settings.merged(from_file(octets, "ws.toml")).config
        assert config == Config(
            port=9,
            drain=2,
            ping_interval=0.5,
            compression=True,
            greeting="hi",
            listen=("tcp:1", "unix:a b.sock"),
        )

    @pytest.mark.parametrize(
        ("octets", "history"),
        [(b"history = 100", "100,300"), (b"history = '100,5'", "100,5"), (b"history = 0", "0")],
    )
    def test_a_history_is_a_number_or_two_in_text(self, octets: bytes, history: str) -> None:
        assert Settings.merged(from_file(octets, "ws.toml")).config.history == history

    @pytest.mark.parametrize(
        ("octets", "said"),
        [
            (b"port =", "ws.toml: is not TOML, Invalid value (at end of document)"),
            (
                b"\nport = 1\nport = 2",
                "ws.toml: is not TOML, Cannot overwrite a value (at end of document)",
            ),
            (
                b"port = 1\n#\xff",
                "ws.toml: is not UTF-8 (at line 2, column 2); give a file in TOML",
            ),
            (b"a=" + b"[" * 9999, "ws.toml: has brackets nested too deeply"),
            (b"prot = 1", "ws.toml: prot: unknown setting; did you mean port?"),
            (
                b"max-connections = 1",
                "ws.toml: max-connections: unknown setting; did you mean max_connections?",
            ),
            (b"[server]\nport = 1", "ws.toml: server: unknown setting; see --help"),
            (b'"\\u001b" = 1', r"ws.toml: \x1b: unknown setting; see --help"),
            (
                b"port = 65536",
                "ws.toml: port: 65536 is not allowed; give a whole number from 0 to 65535",
            ),
            (b'port = "80"', "ws.toml: port: '80' is not allowed; give a whole number"),
            (b"port = true", "ws.toml: port: True is not allowed; give a whole number"),
            (b"port = 80.0", "ws.toml: port: 80.0 is not allowed; give a whole number"),
            (
                b"drain = true",
                'ws.toml: drain: True is not allowed; give a number or a string such as "500ms"',
            ),
            (b'drain = "1d"', "ws.toml: drain: '1d' is not allowed; give " + A_TIME),
            (b"drain = -1", "ws.toml: drain: -1 is not allowed; give " + A_TIME),
            (
                b'send_buffer = "1MB"',
                "ws.toml: send_buffer: '1MB' is not allowed; give " + A_SIZE,
            ),
            (
                b"send_buffer = 1.5",
                (
                    "ws.toml: send_buffer: 1.5 is not allowed;"
                    ' give a whole number or a string such as "64KiB"'
                ),
            ),
            (b"drain = nan", "ws.toml: drain: nan is not allowed; give " + A_TIME),
            (b"compression = 1", "ws.toml: compression: 1 is not allowed; give true or false"),
            (b"greeting = 1", "ws.toml: greeting: 1 is not allowed; give a string"),
            (
                b"history = true",
                "ws.toml: history: True is not allowed; give a string or a whole number",
            ),
            (
                b"history = 1.5",
                "ws.toml: history: 1.5 is not allowed; give a string or a whole number",
            ),
            (
                b"listen = 'tcp:1'",
                "ws.toml: listen: 'tcp:1' is not allowed; give an array of strings",
            ),
            (
                b"listen = [1]",
                (
                    "ws.toml: listen: [1] is not allowed;"
                    " give a Twisted endpoint string such as tcp:8080 or unix:ws.sock"
                ),
            ),
        ],
    )
    def test_what_is_wrong_is_said_with_the_file_and_the_place(
        self, octets: bytes, said: str
    ) -> None:
        assert problem(octets) == said

    def test_a_name_of_a_file_moves_no_cursor(self) -> None:
        assert problem(b"x=1", "a\x1b.toml").startswith(r"a\x1b.toml: x: ")
        assert problem(b"port=-1", "a\x1b.toml").startswith(r"a\x1b.toml: port: ")

    @given(st.binary())
    def test_any_octets_are_settings_or_one_line(self, octets: bytes) -> None:
        said = ""
        try:
            from_file(octets, "ws.toml")
        except ConfigError as error:
            said = str(error)
        assert said.isprintable()


class TestEnvironment:
    def config(self, **variables: str) -> Config:
        return Settings.merged(from_environment(variables)).config

    def test_each_setting_has_a_variable(self) -> None:
        config = self.config(WSSERVICE_PORT="9", WSSERVICE_COMPRESSION="on", WSSERVICE_GREETING="")
        assert config == Config(port=9, compression=True, greeting="")

    def test_white_space_separates_what_there_may_be_several_of(self) -> None:
        config = self.config(WSSERVICE_LISTEN=" tcp:1\n unix:a,b ", WSSERVICE_ALLOW_ORIGIN="")
        assert config.listen == ("tcp:1", "unix:a,b")
        assert config.allow_origin == ()

    def test_what_is_no_setting_of_ours_is_left_alone(self) -> None:
        assert self.config(PORT="x", WSSERVICE="x", wsservice_port="x") == Config()
        assert self.config(WSSERVICE_NATIVE="1", WSSERVICE_CONFIG="x") == Config()

    @pytest.mark.parametrize(
        ("name", "text", "said"),
        [
            ("WSSERVICE_PROT", "1", "unknown setting; did you mean WSSERVICE_PORT?"),
            ("WSSERVICE_NATIV", "1", "unknown setting; did you mean WSSERVICE_NATIVE?"),
            ("WSSERVICE_", "1", "unknown setting; see --help"),
            ("WSSERVICE_PORT", "", "'' is not allowed; give a whole number from 0 to 65535"),
            ("WSSERVICE_GREETING", "\udcff", r"'\udcff' is not allowed; give text in UTF-8"),
        ],
    )
    def test_what_is_wrong_is_said_with_the_variable(self, name: str, text: str, said: str) -> None:
        with pytest.raises(ConfigError) as caught:
            self.config(**{name: text})
        assert str(caught.value) == f"{name}: {said}"

    def test_a_name_of_a_variable_moves_no_cursor(self) -> None:
        with pytest.raises(ConfigError, match=r"^WSSERVICE_\\x1b: unknown"):
            self.config(**{"WSSERVICE_\x1b": ""})


class TestMerging:
    def test_the_later_source_wins_and_replaces_also_what_there_may_be_several_of(self) -> None:
        settings = Settings.merged(
            from_file(b'listen = ["tcp:1", "tcp:2"]\nport = 1\ndrain = 1', "ws.toml"),
            from_environment({"WSSERVICE_LISTEN": "tcp:3 tcp:4", "WSSERVICE_PORT": "2"}),
            from_options({"listen": ("tcp:5",)}),
        )
        assert settings.config == Config(listen=("tcp:5",), port=2, drain=1)
        assert {name: each.source for name, each in settings.given.items()} == {
            "listen": "--listen",
            "port": "WSSERVICE_PORT",
            "drain": "ws.toml",
        }

    def test_a_wrong_value_that_is_overruled_does_no_harm(self) -> None:
        settings = Settings.merged(from_file(b"port = -1", "ws.toml"), from_options({"port": "1"}))
        assert settings.config.port == 1

    def test_an_error_that_begins_with_an_option_begins_with_its_place_instead(self) -> None:
        settings = Settings.merged(
            from_file(b'message_log = "a"\nlisten = ["tcp:1"]', "ws.toml"),
            from_environment({"WSSERVICE_PORT": "1"}),
            from_options({"drain": "1"}),
        )
        for before, after in [
            ("--message-log: a cannot", "ws.toml: message_log: a cannot"),
            ("--listen tcp:1: cannot", "ws.toml: listen tcp:1: cannot"),
            ("--port 1: cannot", "WSSERVICE_PORT 1: cannot"),
            ("--drain: no", "--drain: no"),
            ("--greeting: no", "--greeting: no"),
            ("no --port: there", "no --port: there"),
        ]:
            assert settings.placed(before) == after

    def test_so_does_one_that_is_about_two_settings(self) -> None:
        sources = from_file(b"max_message_size = 1\ngreeting = 'long'", "ws.toml")
        with pytest.raises(ConfigError, match=r"^ws\.toml: greeting: 4 bytes are not allowed"):
            Settings.merged(sources)


class TestGathering:
    def test_the_file_of_the_command_line_goes_before_that_of_the_environment(
        self, tmp_path: Path
    ) -> None:
        one, two = tmp_path / "one.toml", tmp_path / "two.toml"
        one.write_text("port = 1")
        two.write_text("port = 2")
        variables = {"WSSERVICE_CONFIG": str(one)}
        assert gather({}, variables, None).config.port == 1
        assert gather({}, variables, str(two)).config.port == 2

    def test_without_a_file_the_rest_counts(self) -> None:
        settings = gather({"drain": "1"}, {"WSSERVICE_PORT": "2"}, None)
        assert settings.config == Config(drain=1, port=2)

    @pytest.mark.parametrize(
        ("variables", "file", "said"),
        [
            ({}, "", "--config: an empty path cannot be read, No such file or directory"),
            ({}, "a\nb", r"--config: a\nb cannot be read, No such file or directory"),
            ({"WSSERVICE_CONFIG": "/"}, None, "WSSERVICE_CONFIG: / cannot be read, Is a directory"),
        ],
    )
    def test_a_file_that_cannot_be_read_is_said_with_who_named_it(
        self, variables: dict[str, str], file: str | None, said: str
    ) -> None:
        with pytest.raises(ConfigError) as caught:
            gather({}, variables, file)
        assert str(caught.value) == f"{said}; give a file in TOML"


@attrs.frozen(kw_only=True)
class Secretive(Config):
    """With a secret, as long as there is none of its own."""

    token: str = setting(
        "", attrs.Converter(lambda text: text), "TEXT", "for the test", secret=True
    )


class TestShowing:
    def lines(self, settings: Settings) -> list[str]:
        return list(settings.as_toml())

    def test_each_setting_stands_with_where_it_was_given(self) -> None:
        settings = Settings.merged(
            from_file(b"drain = 1", "my\nws.toml"),
            from_environment({"WSSERVICE_ALLOW_ORIGIN": "* https://a.example"}),
            from_options({"compression": "on"}),
        )
        lines = self.lines(settings)
        assert r"drain = 1.0  # my\nws.toml" in lines
        assert 'allow_origin = ["*", "https://a.example"]  # WSSERVICE_ALLOW_ORIGIN' in lines
        assert "compression = true  # --compression" in lines
        assert "port = 8080  # default" in lines
        assert len(lines) == len(OPTIONS)

    def test_what_is_not_set_has_no_value(self) -> None:
        lines = self.lines(Settings.merged(from_options({"listen": ["tcp:1"]})))
        assert "# port is not set  # default" in lines

    @given(st.text(), st.lists(st.text()))
    def test_it_reads_back(self, greeting: str, listen: list[str]) -> None:
        try:
            config = Config(greeting=greeting, listen=tuple(listen))
        except ConfigError:
            return
        lines = "\n".join(self.lines(Settings(config, {})))
        assert Settings.merged(from_file(lines.encode(), "ws.toml")).config == config
        assert lines.replace("\n", "").isprintable()

    def test_rules_come_last_and_read_back(self) -> None:
        octets = b"""
            [[channels]]
            match = "room.*"
            subscribe = "users"
            keep = 100
            join_leave = true
            [[channels]]
            match = 'a"b'
        """
        settings = Settings.merged(from_file(octets, "my.toml"))
        lines = self.lines(settings)
        assert lines[-7:] == [
            "[[channels]]  # my.toml, rule 1",
            'match = "room.*"',
            'subscribe = "users"',
            'keep = "100,300"',
            "join_leave = true",
            "[[channels]]  # my.toml, rule 2",
            r'match = "a\"b"',
        ]
        again = Settings.merged(from_file("\n".join(lines).encode(), "ws.toml"))
        assert again.config == settings.config

    def test_a_secret_is_not_shown_and_its_mask_is_no_value(self) -> None:
        settings = Settings(Secretive(token="hunter2"), from_options({"token": "hunter2"}))
        lines = self.lines(settings)
        assert f'# token = "{MASK}"  # --token' in lines
        assert "hunter2" not in "\n".join(lines)
        assert "token" not in tomllib.loads("\n".join(lines))

    def test_a_secret_in_a_url_is_not_shown(self) -> None:
        url = "http://h/?room=1&token=hunter2"
        config = Config(webhook=url, webhook_secret_file="file")
        lines = self.lines(Settings(config, from_options({"webhook": url})))
        assert f'# webhook = "http://h/?room=1&token={MASK}"  # --webhook' in lines

    def test_a_wrong_secret_is_not_shown_either(self) -> None:
        field: attrs.Attribute[Any] = attrs.fields_dict(Secretive)["token"]
        text = str(refuse(field, "hunter2", "text"))
        assert text == f"--token: {MASK} is not allowed; give text"


def test_one_certificate_needs_no_array() -> None:
    for text in ('"c.pem"', '["c.pem"]'):
        table = from_file(f"tls_cert = {text}".encode(), "ws.toml")
        assert Settings.merged(table).config.tls_cert == ("c.pem",)
    with pytest.raises(ConfigError, match="tls_cert: 1 is not allowed; give a string or an array"):
        from_file(b"tls_cert = 1", "ws.toml")


def test_the_manual_shows_every_setting_with_its_default() -> None:
    _, _, rest = OPERATIONS.read_text().partition("```toml\n# Every setting")
    table = from_file(rest.partition("```")[0].partition("\n")[2].encode(), "operations.md")
    assert set(table) == {field.name for field in OPTIONS}
    assert Settings.merged(table).config == Config()


def test_what_is_inherited_is_overruled_by_all_others() -> None:
    inherited = {"log_level": Given("debug", "twist", "twist"), "port": Given("x", "a", "b")}
    settings = gather({}, {"WSSERVICE_PORT": "1"}, None, inherited)
    assert (settings.config.log_level, settings.config.port) == ("debug", 1)
    assert 'log_level = "debug"  # twist' in list(settings.as_toml())
