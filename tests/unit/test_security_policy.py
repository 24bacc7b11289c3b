"""`SECURITY.md` is found from where a reader looks for it, and leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
POLICY = (ROOT / "SECURITY.md").read_text()


@pytest.mark.parametrize(
    ("document", "link"),
    [("README.md", "(SECURITY.md)"), ("docs/security.md", "(../SECURITY.md)")],
)
def test_it_is_linked(document: str, link: str) -> None:
    assert link in (ROOT / document).read_text()


def test_it_is_in_the_source_distribution() -> None:
    assert "SECURITY.md" in (ROOT / "MANIFEST.in").read_text()


def test_its_links_lead_to_files_and_headings() -> None:
    links = re.findall(r"\]\(([\w./-]+)(?:#([\w-]+))?\)", POLICY)
    assert links
    for path, heading in links:
        text = (ROOT / path).read_text()
        headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
        assert not heading or heading in {each.lower().replace(" ", "-") for each in headings}


def test_it_says_how_to_report_and_names_nobody() -> None:
    assert "Report a vulnerability" in POLICY
    assert "@" not in POLICY
