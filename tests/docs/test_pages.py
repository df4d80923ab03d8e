"""What the pages say holds: generated files are fresh, links lead somewhere, every manifest is accepted."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from tests.docs.generate import FOLDER, documents
from tests.docs.pages import PAGES, anchors, links, manifests
from tests.docs.reasons import ROOT
from tests.lab.kube import OPERATOR_NAMESPACE, Kube

NAMES = [str(page.relative_to(ROOT)) for page in PAGES]


def test_the_reference_is_what_the_code_gives() -> None:
    committed = {path.name: path.read_text() for path in FOLDER.glob("*.md")}
    assert documents() == committed, "run `make docs`"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = []
    for link in links(page):
        name, _, fragment = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (fragment and fragment not in anchors(target)):
            broken.append(link)
    assert [] == broken


def test_every_page_is_reached_from_the_readme() -> None:
    reached, todo = set[Path](), [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page in reached or page.suffix != ".md" or not page.is_file():
            continue
        reached.add(page)
        todo += [(page.parent / link.partition("#")[0]).resolve() for link in links(page) if not link.startswith("#")]
    assert [] == [str(page.relative_to(ROOT)) for page in PAGES if page not in reached]


@pytest.fixture(scope="module")
def namespaces(apiserver: Kube) -> None:
    for name in (OPERATOR_NAMESPACE, "dr-demo"):
        apiserver.namespace(name)


@pytest.mark.lab
@pytest.mark.usefixtures("namespaces")
@pytest.mark.parametrize("text", [pytest.param(text, id=where) for where, text in manifests()])
def test_every_manifest_is_accepted(apiserver: Kube, text: str) -> None:
    assert all(yaml.safe_load_all(text))
    done = apiserver.kubectl("create", "--dry-run=server", "--validate=strict", "-f", "-", input=text)
    assert (0, "") == (done.returncode, done.stderr)
