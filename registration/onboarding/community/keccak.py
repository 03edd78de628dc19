"""Keccak-256, the hash that Ethereum uses.

It is SHA-3's permutation and sponge with the padding from before the standard: 0x01 where FIPS 202 has 0x06. So
`hashlib.sha3_256` gives another hash, and OpenSSL's `KECCAK-256` is not among the algorithms that `hashlib` reaches
everywhere. The libraries that have it bring some megabytes of compiled code for it; a checksum of 40 characters at a time
is worth these few lines instead.

Sources: https://keccak.team/keccak_specs_summary.html, and FIPS 202 for the permutation.
"""

from __future__ import annotations

from itertools import pairwise

RATE_BYTES = 136
"""How much of the state a block fills: 1600 bits less twice the 256 of the hash."""

KECCAK_PADDING = 0x01
SHA3_PADDING = 0x06

_LANE = (1 << 64) - 1


def keccak_256(data: bytes) -> bytes:
    """The 32 bytes of Keccak-256 over `data`."""
    return sponge(data, KECCAK_PADDING)


def sponge(data: bytes, padding: int) -> bytes:
    """The 32 bytes of the sponge over `data`, ended by `padding`: with `SHA3_PADDING` it is SHA3-256."""
    padded = bytearray(data)
    padded.append(padding)
    padded.extend(bytes(-len(padded) % RATE_BYTES))
    padded[-1] |= 0x80
    lanes = [0] * 25
    for start in range(0, len(padded), RATE_BYTES):
        for lane in range(RATE_BYTES // 8):
            at = start + 8 * lane
            lanes[lane] ^= int.from_bytes(padded[at : at + 8], "little")
        lanes = _permuted(lanes)
    return b"".join(lane.to_bytes(8, "little") for lane in lanes[:4])


def _permuted(lanes: list[int]) -> list[int]:
    """Keccak-f[1600] over 25 lanes of 64 bits; lane x, y stands at x + 5 y."""
    for constant in _ROUNDS:
        # theta
        columns = [lanes[x] ^ lanes[x + 5] ^ lanes[x + 10] ^ lanes[x + 15] ^ lanes[x + 20] for x in range(5)]
        mixed = [columns[(x + 4) % 5] ^ _rotated(columns[(x + 1) % 5], 1) for x in range(5)]
        lanes = [lane ^ mixed[at % 5] for at, lane in enumerate(lanes)]
        # rho and pi: one lane moves on to the place of the next, each turned further than the one before
        moved = lanes.copy()
        for turn, (source, target) in enumerate(pairwise(_TRAIL), start=1):
            moved[target] = _rotated(lanes[source], turn * (turn + 1) // 2 % 64)
        # chi
        lanes = [
            moved[at] ^ (~moved[at - at % 5 + (at + 1) % 5] & _LANE & moved[at - at % 5 + (at + 2) % 5])
            for at in range(25)
        ]
        # iota
        lanes[0] ^= constant
    return lanes


def _rotated(lane: int, bits: int) -> int:
    return (lane << bits | lane >> (64 - bits)) & _LANE


def _trail() -> tuple[int, ...]:
    """The places that lanes move along: from x, y to y, 2x + 3y; the lane at 0, 0 stays."""
    x, y = 1, 0
    places = [1]
    for _ in range(24):
        x, y = y, (2 * x + 3 * y) % 5
        places.append(x + 5 * y)
    return tuple(places)


def _round_constants() -> tuple[int, ...]:
    """Bits 0, 1, 3, 7, 15, 31 and 63 of each round's constant come from a linear feedback shift register."""
    register, constants = 1, []
    for _ in range(24):
        constant = 0
        for power in range(7):
            if register & 1:
                constant |= 1 << ((1 << power) - 1)
            register = register << 1 ^ (0x171 if register & 0x80 else 0)
        constants.append(constant)
    return tuple(constants)


_TRAIL = _trail()
_ROUNDS = _round_constants()
