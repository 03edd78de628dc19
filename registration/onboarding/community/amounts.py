"""Amounts: decimal text such as ``0.5``, compared and scaled without floats."""

from __future__ import annotations

import re

from registration.onboarding.community.chains import AMOUNT_BITS, Chain

AMOUNT_CHARACTERS_MAX = 160
"""The longest amounts have 78 digits before the point, and 77 after it."""

_AMOUNT = re.compile(r"(0|[1-9][0-9]*)(?:\.([0-9]+))?")


def units(amount: str, decimals: int) -> int:
    """An amount in its smallest units, exactly: ``1.5`` with 6 decimals is 1,500,000.

    Raises:
        ValueError: when it is invalid, or has too many decimals.
    """
    found = _AMOUNT.fullmatch(amount)
    after = (found[2] or "").rstrip("0") if found else ""
    if not found or len(amount) > AMOUNT_CHARACTERS_MAX or len(after) > decimals:
        raise ValueError(amount)
    return int(found[1] + after.ljust(decimals, "0"))


def amount_text(number: int, decimals: int) -> str:
    """The shortest text of an amount given in its smallest units: the form that is stored."""
    whole, part = divmod(number, 10**decimals)
    after = str(part).rjust(decimals, "0").rstrip("0") if part else ""
    return f"{whole}.{after}" if after else str(whole)


def shortest(amount: str, decimals: int) -> str:
    """The same amount without needless zeros."""
    return amount_text(units(amount, decimals), decimals)


def amount_problem(amount: str, *, decimals: int, chain: Chain, of: str) -> str | None:
    """The problem of a positive amount of an asset, with the remedy; None if it is valid.

    of: the asset's name. decimals: its number of decimals; 0 if only whole ones count.
    """
    shown = repr(amount if len(amount) <= 60 else amount[:60] + "…")
    found = _AMOUNT.fullmatch(amount)
    if not found or len(amount) > AMOUNT_CHARACTERS_MAX:
        return f"{shown} is an invalid amount; {_remedy(amount)}"
    after = (found[2] or "").rstrip("0")
    if len(after) > decimals:
        if decimals == 0:
            return f"{shown} is not a whole number, and {of} can only be counted"
        digits = "1 digit" if len(after) == 1 else f"{len(after)} digits"
        return f"{shown} has {digits} after the point, and {of} has {decimals} decimals; round it, or correct the decimals"
    number = units(amount, decimals)
    if number == 0:
        return "everyone holds an amount of 0; give a larger one"
    if number >> AMOUNT_BITS[chain.family]:
        most = amount_text((1 << AMOUNT_BITS[chain.family]) - 1, decimals)
        return f"{shown} exceeds the maximum of {of} on {chain.title}, which is {most}; correct the amount, or the decimals"
    return None


def _remedy(amount: str) -> str:
    """The suggested correction."""
    bare = amount.strip().replace("_", "").replace("'", "").replace(" ", "")
    if re.fullmatch(r"[0-9]{1,3}(,[0-9]{3})+(\.[0-9]+)?", bare):
        return f"leave the commas out: {bare.replace(',', '')}"
    if re.fullmatch(r"[0-9]+,[0-9]+", bare):
        return f"write the comma as a point: {bare.replace(',', '.')}"
    bare = bare.lstrip("0") if re.fullmatch(r"0[0-9]+(\.[0-9]+)?", bare) else bare
    if _AMOUNT.fullmatch(bare):
        return f"write {bare}"
    return "write digits, and a point where there is a fraction, such as 100 or 0.5"
