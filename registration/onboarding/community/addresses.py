"""Addresses of contracts and mints: validated as far as possible offline, with a message for each problem.

EVM: ``0x`` and 40 hex digits, whose upper and lower case are a checksum
(EIP-55, https://eips.ethereum.org/EIPS/eip-55). Solana: 32 bytes in base58, with Bitcoin's alphabet; no checksum.
"""

from __future__ import annotations

import re

from registration.onboarding.community.chains import Chain

BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
SOLANA_BYTES = 32
SOLANA_CHARACTERS_MAX = 44
"""The length of 32 bytes of ones; 32 zero bytes have 32 characters."""

_VALUES = {letter: value for value, letter in enumerate(BASE58)}
_HEX = re.compile(r"[0-9a-fA-F]*")
_EVM = re.compile(r"0x[0-9a-fA-F]{40}")


def missing_library() -> str | None:
    """The missing prerequisites for checking addresses, as a sentence; None if nothing is missing."""
    try:
        checksummed("0x" + 40 * "0")
    except ImportError:
        return "The library eth-hash, which the checksums of addresses need, is not installed."
    return None


def checksummed(address: str) -> str:
    """An EVM address in the upper and lower case of EIP-55. address: ``0x`` and 40 hex digits in any case.

    Raises:
        ImportError: when the extra `community` is not installed; see `missing_library`.
    """
    # Keccak-256 is not SHA3-256: its padding is older. So `hashlib` has it nowhere, and OpenSSL not everywhere.
    from eth_hash.auto import keccak  # noqa: PLC0415  # an extra: logs, replay and verification never need it

    digits = address[2:].lower()
    hashed = keccak(digits.encode("ascii")).hex()
    return "0x" + "".join(
        digit.upper() if int(nibble, 16) >= 8 else digit
        for digit, nibble in zip(digits, hashed, strict=False)
    )


def base58_encoded(data: bytes) -> str:
    """Bytes in base58; each leading zero byte is a ``1``."""
    number, letters = int.from_bytes(data, "big"), []
    while number:
        number, value = divmod(number, 58)
        letters.append(BASE58[value])
    zeros = len(data) - len(data.lstrip(b"\0"))
    return "1" * zeros + "".join(reversed(letters))


def base58_decoded(text: str) -> bytes:
    """The bytes that `text` encodes.

    Raises:
        ValueError: when it has a character that is not in the base58 alphabet.
    """
    number = 0
    for place, letter in enumerate(text, start=1):
        if letter not in _VALUES:
            raise ValueError(f"it has {letter!r} at character {place}, which is not in the base58 alphabet")
        number = number * 58 + _VALUES[letter]
    zeros = len(text) - len(text.lstrip("1"))
    return bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")


def canonical(chain: Chain, address: str) -> str:
    """The canonical form of a valid address: checksummed on EVM chains, unchanged on Solana."""
    return checksummed(address) if chain.family == "evm" else address


def address_problem(chain: Chain, address: str) -> str | None:
    """The problem of an address on a chain, with the remedy, as a clause; None if it is valid.

    An EVM address all in lower or all in upper case has no checksum, and is accepted; `canonical` adds one.
    """
    if "." in address:
        return f"{_shown(address)} looks like a name; names are not resolved, so give the address"
    problem = _evm_problem(address) if chain.family == "evm" else _solana_problem(address)
    if problem is not None and _fits_elsewhere(chain, address):
        other = "Solana" if chain.family == "evm" else "an EVM chain such as Ethereum"
        return f"{address!r} is an address of {other}, and this asset is on {chain.title}; give another address, or choose another chain"
    return problem


def _fits_elsewhere(chain: Chain, address: str) -> bool:
    if chain.family == "evm":
        return len(address) >= SOLANA_BYTES and _solana_problem(address) is None
    return _EVM.fullmatch(address) is not None


def _evm_problem(address: str) -> str | None:
    if address[:2] != "0x":
        return f"{_shown(address)} does not begin with '0x'; an EVM address is 0x and 40 hex digits"
    digits = address[2:]
    if not _HEX.fullmatch(digits):
        place, letter = next((at, c) for at, c in enumerate(address, start=1) if at > 2 and not _is_hex(c))
        return f"{_shown(address)} has {letter!r} at character {place}, which is not a hex digit; copy the address again"
    if len(digits) != 40:
        return f"{_shown(address)} has {_counted(len(digits), 'hex digit')} after 0x; expected 40; copy the address again"
    if not int(digits, 16):
        return "the zero address is not a contract; give the address of the token or collection"
    has_checksum = digits not in (digits.lower(), digits.upper())
    if has_checksum and (right := checksummed(address)) != address:
        return (
            f"{address!r} has a wrong checksum (EIP-55): a digit is mistyped, or upper and lower case were changed; "
            f"if every digit is right, write {right}"
        )
    return None


def _solana_problem(address: str) -> str | None:
    if len(address) > SOLANA_CHARACTERS_MAX:
        return (
            f"{_shown(address)} has {len(address)} characters; a Solana address has at most {SOLANA_CHARACTERS_MAX}; "
            "copy the address again"
        )
    try:
        data = base58_decoded(address)
    except ValueError as error:
        return (
            f"{_shown(address)} is not base58: {error} (it leaves out 0, O, I and l); copy the address again"
        )
    if len(data) != SOLANA_BYTES:
        return f"{_shown(address)} decodes to {_counted(len(data), 'byte')}; a Solana address has {SOLANA_BYTES}; copy the address again"
    if not any(data):
        return "that is the address of Solana's system program; give the address of the mint"
    return None


def _is_hex(letter: str) -> bool:
    return _HEX.fullmatch(letter) is not None


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:60] + "…")
