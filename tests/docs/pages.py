"""The pages that are written for people, their code blocks, links and headings."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

from tests.docs.reasons import ROOT

PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])

_BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
_HERE = re.compile(r"<<'YAML'\n(.*?)^YAML$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def blocks(page: Path, language: str) -> list[str]:
    """Return the code blocks of *language*, without their indentation."""
    return [textwrap.dedent(body) for _, found, body in _BLOCK.findall(page.read_text()) if found == language]


def manifests() -> Iterator[tuple[str, str]]:
    """Every manifest of the pages, with where it stands: yaml blocks, and what commands read from a here-document."""
    for page in PAGES:
        found = blocks(page, "yaml")
        for script in (*blocks(page, "bash"), *blocks(page, "sh")):
            found += _HERE.findall(script)
        for number, text in enumerate(found, 1):
            yield f"{page.relative_to(ROOT)} #{number}", text


def links(page: Path) -> Iterator[str]:
    """The targets of the page's links inside the project."""
    text = _BLOCK.sub("", page.read_text())
    return (target for target in _LINK.findall(text) if "://" not in target)


def anchors(page: Path) -> set[str]:
    """The fragments that the page's headings answer to."""
    headings = re.findall(r"^#+ (.+)$", _BLOCK.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
