"""The lab's operator has the chart's rights: tests/golden/chart-rbac.yaml is what Helm makes of the chart."""

from __future__ import annotations

from pathlib import Path

from tests.chart.conftest import run_helm
from tests.lab.toolchain import ROOT

GOLDEN = ROOT / "tests" / "golden" / "chart-rbac.yaml"


def rendered(helm: Path, chart: Path) -> str:
    """What `helm template` makes of the rights and the account, with the chart's defaults."""
    shown = ("--show-only", "templates/rbac.yaml", "--show-only", "templates/serviceaccount.yaml")
    done = run_helm(
        helm, "template", "resurgo", chart, "-n", "resurgo-system", "--set", "image.repository=example/resurgo", *shown
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_lab_gives_its_operator_what_the_chart_gives(helm: Path, chart: Path) -> None:
    assert GOLDEN.read_text(encoding="utf-8") == rendered(helm, chart), "make golden"
