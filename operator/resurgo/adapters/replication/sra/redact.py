"""Keeping secrets out of everything that people or logs get to see."""

from __future__ import annotations

from collections.abc import Iterable

MASK = "***"
_SHORTEST = 3  # masking every "a" would hide nothing and spoil the text


def redact(said: str, secrets: Iterable[str], *, limit: int = 2000) -> str:
    """*said* without any of *secrets*, without control characters, cut to *limit* characters."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _SHORTEST:
            said = said.replace(secret, MASK)
    clean = "".join(c if c.isprintable() else " " for c in said).strip()
    return clean if len(clean) <= limit else f"{clean[: limit - 1]}…"
