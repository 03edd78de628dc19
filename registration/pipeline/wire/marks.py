"""What marks a JSON value besides what it is about."""

from __future__ import annotations

from typing import Any


def dry(dry_run: bool) -> dict[str, Any]:  # one mark, one argument
    """The mark of what was only decided: `dry_run`; nothing where it was carried out."""
    return {"dry_run": True} if dry_run else {}
