from __future__ import annotations

import pytest

from wsservice.cli import __main__
from wsservice.cli.__main__ import main


def test_an_interrupt_before_it_runs_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given: list[object] = []

    def parse(arguments: object) -> None:
        given.append(arguments)
        raise KeyboardInterrupt  # as at the question for a password

    monkeypatch.setattr(__main__, "parse", parse)
    with pytest.raises(SystemExit) as caught:
        main(["--auth", "me"])
    assert caught.value.code == 130
    assert caught.value.__suppress_context__
    assert given == [["--auth", "me"]]
    monkeypatch.setattr("sys.argv", ["wsclient", "URL"])
    with pytest.raises(SystemExit):
        main()
    assert given[1] == ["URL"]
    assert capsys.readouterr().err == ""
