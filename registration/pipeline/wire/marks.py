"""Marks that JSON values of several subjects share."""

from __future__ import annotations

from typing import Any


def dry(dry_run: bool) -> dict[str, Any]:  # one mark, one argument
    """The mark of a dry run, `dry_run`; empty if the command was carried out."""
    return {"dry_run": True} if dry_run else {}
