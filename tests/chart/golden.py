"""`make golden`: write tests/golden/chart-rbac.yaml anew; a reviewer reads the difference."""

from __future__ import annotations

from tests.chart.conftest import CHART, HELM
from tests.chart.test_lab_rights import GOLDEN, rendered
from tests.lab.gobuild import ensure_built
from tests.lab.toolchain import Toolchain

if __name__ == "__main__":
    GOLDEN.write_text(rendered(ensure_built(HELM, Toolchain().cache), CHART), encoding="utf-8")
