"""Addresses and amounts: checksums, codecs and checks against vectors and second opinions, and what people are told."""

from __future__ import annotations

import re
from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registration.onboarding.community.addresses import (
    BASE58,
    address_problem,
    base58_decoded,
    base58_encoded,
    canonical,
    checksummed,
)
from registration.onboarding.community.amounts import amount_problem, amount_text, shortest, units
from registration.onboarding.community.chains import BY_KEY, CHAINS
from tests.kit.builders import tries

ETHEREUM, SOLANA = BY_KEY["ethereum"], BY_KEY["solana"]
USDC = "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48"
USDC_MINT = "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"
WRAPPED_SOL = "So11111111111111111111111111111111111111112"

EIP_55 = (
    "0x52908400098527886E0F7030069857D2E4169EE7",
    "0x8617E340B3D01FA5F11F306F4090FD50E238070D",
    "0xde709f2102306220921060314715629080e2fb77",
    "0x27b1fdb04752bbc536007a920d24acb045561c26",
    "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
    "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
    "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
    "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
)
"""The test cases of the proposal itself."""

evm_addresses = (
    st.binary(min_size=20, max_size=20).filter(any).map(lambda data: checksummed("0x" + data.hex()))
)


# -- EVM ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", EIP_55)
def test_the_checksums_are_those_of_eip_55(address):
    """Each test case of the proposal comes out as it stands there, from any case."""
    assert checksummed(address.lower()) == address
    assert checksummed("0x" + address[2:].upper()) == address
    assert address_problem(ETHEREUM, address) is None


@tries(50)
@given(address=evm_addresses, data=st.data())
def test_a_letter_in_the_wrong_case_is_found_and_the_right_address_is_told(address, data):
    """Whatever letter's case is changed, the message has the address as it is written."""
    letters = [at for at, letter in enumerate(address) if at > 1 and letter.isalpha()]
    at = data.draw(st.sampled_from(letters)) if len(letters) > 1 else None
    wrong = address if at is None else address[:at] + address[at].swapcase() + address[at + 1 :]
    without_checksum = wrong[2:] in (wrong[2:].lower(), wrong[2:].upper())

    problem = address_problem(ETHEREUM, wrong)

    if wrong == address or without_checksum:
        assert problem is None
    else:
        assert problem is not None
        assert problem.endswith(f"write {address}")
    assert canonical(ETHEREUM, wrong) == address


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("A0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48", "does not begin with '0x'"),
        ("0X" + USDC[2:], "does not begin with '0x'"),
        (USDC[:-1], "has 39 hex digits after 0x; expected 40"),
        (USDC + "0", "has 41 hex digits after 0x"),
        ("0x", "has 0 hex digits after 0x"),
        (USDC[:10] + "g" + USDC[11:], "has 'g' at character 11, which is not a hex digit"),
        ("0x" + "\uff10" * 40, "has '\uff10' at character 3"),  # a digit zero of full width
        ("0x" + "0" * 40, "the zero address is not a contract"),
        ("vitalik.eth", "looks like a name; names are not resolved"),
        (USDC_MINT, "is an address of Solana, and this asset is on Ethereum"),
        ("", "does not begin with '0x'"),
        ("0x" + "a" * 10_000, "has 10000 hex digits after 0x"),
    ],
)
def test_an_evm_address_that_is_none_is_told_apart(address, told):
    """The message says what is wrong with it, and shows no more than a line of it."""
    problem = address_problem(ETHEREUM, address)

    assert problem is not None
    assert told in problem
    assert len(problem) < 300


# -- Solana ------------------------------------------------------------------------------------------------------


def base58_by_hand(data):
    """The encoding as Bitcoin's sources do it, digit by digit with a carry, and no large number."""
    digits = []
    for byte in data:
        carry = byte
        for place, digit in enumerate(digits):
            carry += digit << 8
            digits[place] = carry % 58
            carry //= 58
        while carry:
            digits.append(carry % 58)
            carry //= 58
    zeros = next((at for at, byte in enumerate(data) if byte), len(data))
    return "1" * zeros + "".join(BASE58[digit] for digit in reversed(digits))


@tries(200)
@given(st.one_of(st.binary(max_size=40), st.binary(max_size=8).map(lambda tail: bytes(24) + tail)))
def test_base58_is_what_bitcoin_made_it(data):
    """Encoding agrees with the digit by digit one, and decoding leads back, leading zeros included."""
    text = base58_encoded(data)

    assert text == base58_by_hand(data)
    assert base58_decoded(text) == data


@tries(100)
@given(st.text(alphabet=BASE58, max_size=44))
def test_every_base58_text_stands_for_one_value(text):
    """Decoding loses nothing: what it gives is encoded as the same text."""
    assert base58_encoded(base58_decoded(text)) == text


@tries(100)
@given(st.binary(min_size=32, max_size=32).filter(any))
def test_every_32_bytes_are_a_solana_address(data):
    """No address is refused, and it is kept as it is."""
    address = base58_encoded(data)

    assert address_problem(SOLANA, address) is None
    assert canonical(SOLANA, address) == address


@pytest.mark.parametrize(
    ("address", "told"),
    [
        (USDC_MINT[:-1] + "0", "is not base58: it has '0' at character 44"),
        (USDC_MINT[:-1] + "l", "it leaves out 0, O, I and l"),
        (USDC_MINT[:-2], "decodes to 31 bytes; a Solana address has 32"),
        (USDC_MINT + "1", "has 45 characters; a Solana address has at most 44"),
        ("z" * 44, "decodes to 33 bytes"),
        ("1" * 32, "the address of Solana's system program"),
        (USDC, "is an address of an EVM chain such as Ethereum, and this asset is on Solana"),
        ("bonfida.sol", "looks like a name"),
        ("1" * 100_000, "has 100000 characters"),
        ("", "decodes to 0 bytes"),
    ],
)
def test_a_solana_address_that_is_none_is_told_apart(address, told):
    """The message says what is wrong with it, and shows no more than a line of it."""
    problem = address_problem(SOLANA, address)

    assert problem is not None
    assert told in problem
    assert len(problem) < 300


def test_the_mints_that_everybody_knows_pass():
    """USDC, and wrapped SOL, which is nearly all ones."""
    assert address_problem(SOLANA, USDC_MINT) is None
    assert address_problem(SOLANA, WRAPPED_SOL) is None


def test_there_are_seven_chains():
    """Each with an id of its own by CAIP-2."""
    assert [chain.title for chain in CHAINS] == [
        "Ethereum",
        "Polygon",
        "Arbitrum",
        "Optimism",
        "Base",
        "Berachain",
        "Solana",
    ]
    assert len({chain.caip2 for chain in CHAINS}) == 7


# -- amounts -----------------------------------------------------------------------------------------------------


@tries(200)
@given(number=st.integers(0, 2**256 - 1), decimals=st.integers(0, 77))
def test_an_amount_is_the_same_as_text_and_as_a_number(number, decimals):
    """Nothing is lost on the way through text, however many digits; `decimal` agrees on the value."""
    text = amount_text(number, decimals)

    assert units(text, decimals) == number
    assert shortest(text, decimals) == text
    with localcontext(prec=200):
        assert Decimal(text) * 10**decimals == number


@pytest.mark.parametrize(
    ("amount", "chain", "decimals", "told"),
    [
        ("1,5", ETHEREUM, 18, "write the comma as a point: 1.5"),
        ("1,000", ETHEREUM, 18, "leave the commas out: 1000"),
        ("1,234,567.5", ETHEREUM, 18, "leave the commas out: 1234567.5"),
        ("1_000", ETHEREUM, 18, "write 1000"),
        ("007", ETHEREUM, 18, "write 7"),
        ("1e18", ETHEREUM, 18, "write digits, and a point"),
        ("-1", ETHEREUM, 18, "write digits, and a point"),
        (".5", ETHEREUM, 18, "write digits, and a point"),
        ("\u0661", ETHEREUM, 18, "write digits, and a point"),
        ("1\n", ETHEREUM, 18, "write 1"),
        ("", ETHEREUM, 18, "'' is an invalid amount"),
        ("9" * 1000, ETHEREUM, 18, "is an invalid amount"),
        ("0.1234567", ETHEREUM, 6, "has 7 digits after the point, and USDC has 6 decimals"),
        ("1.5", ETHEREUM, 0, "is not a whole number, and USDC can only be counted"),
        ("0", ETHEREUM, 6, "everyone holds an amount of 0"),
        ("0.000", ETHEREUM, 6, "everyone holds an amount of 0"),
        (
            "18446744073710",
            SOLANA,
            6,
            "exceeds the maximum of USDC on Solana, which is 18446744073709.551615",
        ),
        ("1" + "0" * 60, ETHEREUM, 18, "exceeds the maximum of USDC on Ethereum"),
    ],
)
def test_an_amount_that_is_none_is_told_apart(amount, chain, decimals, told):
    """The message says what to write instead, where that can be guessed."""
    problem = amount_problem(amount, decimals=decimals, chain=chain, of="USDC")

    assert problem is not None
    assert told in problem


@pytest.mark.parametrize(
    ("amount", "chain", "decimals"),
    [
        ("1", ETHEREUM, 0),
        ("0.5", ETHEREUM, 1),
        ("1.500000000", ETHEREUM, 1),  # zeros at the end say nothing
        ("18446744073709.551615", SOLANA, 6),
        (str(2**256 - 1), ETHEREUM, 0),
        ("1", ETHEREUM, 77),
        ("1", SOLANA, 19),
    ],
)
def test_an_amount_that_fits_passes(amount, chain, decimals):
    """Up to the very last unit that a chain can count."""
    assert amount_problem(amount, decimals=decimals, chain=chain, of="X") is None


def test_units_take_no_rounding():
    """An amount that has no whole number of units is none."""
    for amount in ("1.05", "1.", "+1", "1e1", "01"):
        with pytest.raises(ValueError, match=re.escape(amount)):
            units(amount, 1)
