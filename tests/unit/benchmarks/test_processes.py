from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.processes import last_words


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("Error: address in use", "Error: address in use"),
        ("Error: cannot open '/srv/a/key.pem'", "Error: cannot open 'key.pem'"),
        ("Cannot find module '/srv/a/node_modules/ws'", "Cannot find module 'ws'"),
        ('File "/srv/python3.11/site.py", line 3', 'File "site.py", line 3'),
        ("GET https://packages.example/simple/ws failed", "GET https:/ws failed"),
        ("3/4 of what | was asked", "3/4 of what / was asked"),
    ],
)
def test_last_words_tell_nothing_of_the_machine(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "load.stderr").write_text(f"before\n{line}\n\n")
    assert last_words(tmp_path, "load") == said
