"""Reading what the operator's metrics endpoint says."""

from __future__ import annotations


def series(scrape: str, name: str) -> dict[str, float]:
    """The samples of one metric by their labels as written, without braces."""
    found = {}
    for line in scrape.splitlines():
        head, _, value = line.rpartition(" ")
        metric, _, labels = head.partition("{")
        if metric == name:
            found[labels.rstrip("}")] = float(value)
    return found
