"""The chains that a community's assets can be on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Family = Literal["evm", "solana"]
"""The address format of a chain: 20 bytes as hex digits, or 32 bytes in base58."""

AMOUNT_BITS = {"evm": 256, "solana": 64}
"""The width of an amount in a token's smallest unit: uint256 of ERC-20, u64 of SPL."""

DECIMALS_MAX = {"evm": 77, "solana": 19}
"""The maximum number of decimals with which one whole token still fits."""

DECIMALS_USUAL = {"evm": "most have 18, and USDC has 6", "solana": "most have 6 or 9"}


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain. key: its name in answers. caip2: its id by CAIP-2, which for EVM chains contains the EIP-155 number."""

    key: str
    title: str
    family: Family
    caip2: str


CHAINS = (
    Chain("ethereum", "Ethereum", "evm", "eip155:1"),
    Chain("polygon", "Polygon", "evm", "eip155:137"),
    Chain("arbitrum", "Arbitrum", "evm", "eip155:42161"),
    Chain("optimism", "Optimism", "evm", "eip155:10"),
    Chain("base", "Base", "evm", "eip155:8453"),
    Chain("berachain", "Berachain", "evm", "eip155:80094"),
    # The first 32 characters of the genesis block's hash.
    Chain("solana", "Solana", "solana", "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"),
)

BY_KEY = {chain.key: chain for chain in CHAINS}
