"""Numbers: found by their checksums and layouts, and nothing that only looks like them."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from weighbridge.policies.numbers import IBAN_LENGTHS, has_card, has_iban, has_ip_address, has_ssn, is_card, is_iban

CARDS = [
    "4111111111111111", "378282246310005", "371449635398431", "5555555555554444", "6011111111111117",
    "4222222222222", "30569309025904", "3530111333300000", "2223003122003222", "6200000000000005",
]  # fmt: skip
IBANS = [
    "DE89370400440532013000", "GB33BUKB20201555555555", "FR1420041010050500013M02606", "NL91ABNA0417164300",
    "MT84MALT011000012345MTLCAST001S", "NO9386011117947", "CH9300762011623852957", "SA0380000000608010167519",
]  # fmt: skip


@pytest.mark.parametrize("card", CARDS)
def test_a_card_is_found_in_the_ways_people_write_it(card):
    for separator in " -./_":
        groups = [card[:4], card[4:10], card[10:]] if len(card) < 16 else [card[i : i + 4] for i in range(0, 16, 4)]
        if len(card) > 13:
            assert has_card(f"pay with {separator.join(groups)}, please")
    assert has_card(f"({card})")
    assert has_card(f"No{card}.")
    assert has_card(" ".join(card))


@pytest.mark.parametrize("text", ["4111 1111 1111 1111 12/25", "1234 4111 1111 1111 1111", "4111111111111111,123"])
def test_a_card_is_found_beside_other_figures(text):
    assert has_card(text)


@pytest.mark.parametrize(
    "text",
    [
        "4111111111111112",
        "1234567812345670",  # Luhn holds, but no issuer begins so
        "0.4111111111111111",
        "41111111111111111111111",
        "1990 1991 1992 1993",
        "550e8400-e29b-41d4-a716-446655440000",
        "1700000000000",
    ],
)
def test_other_long_numbers_are_no_cards(text):
    assert not has_card(text)


@given(st.sampled_from(CARDS), st.data())
def test_one_wrong_digit_is_no_card(card, data):
    place = data.draw(st.integers(0, len(card) - 1))
    digit = data.draw(st.sampled_from("0123456789"))
    assume(digit != card[place])
    assert not is_card(card[:place] + digit + card[place + 1 :])


@pytest.mark.parametrize("iban", IBANS)
def test_an_iban_is_found_in_the_ways_people_write_it(iban):
    grouped = " ".join(iban[i : i + 4] for i in range(0, len(iban), 4))
    for written in (iban, iban.lower(), grouped, grouped.replace(" ", "-")):
        assert has_iban(f"send it to {written} please, thank you")
        assert has_iban(f"IBAN:{written}.")


@given(st.sampled_from(IBANS), st.data())
def test_one_wrong_character_is_no_iban(iban, data):
    place = data.draw(st.integers(2, len(iban) - 1))
    other = data.draw(st.sampled_from("0123456789" if iban[place].isdigit() else "ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
    assume(other != iban[place])
    assert not is_iban(iban[:place] + other + iban[place + 1 :])


@given(st.sampled_from(IBANS))
def test_an_iban_of_another_length_is_none(iban):
    assert not is_iban(iban[:-1])
    assert not is_iban(iban + "0")
    assert not is_iban("ZZ" + iban[2:])


def test_lengths_are_those_of_the_registry():
    assert (IBAN_LENGTHS["NO"], IBAN_LENGTHS["DE"], IBAN_LENGTHS["RU"]) == (15, 22, 33)


def test_a_social_security_number_has_three_two_and_four_digits():
    assert has_ssn("mine is 123-45-6789.")
    for text in (
        "000-12-3456",
        "666-12-3456",
        "912-12-3456",
        "123-00-4567",
        "123-45-0000",
        "1123-45-6789",
        "2024-01-02",
    ):
        assert not has_ssn(text)


@pytest.mark.parametrize("text", ["from 8.8.8.8.", "at 93.184.216.34:443", "2001:4860:4860::8888 it is"])
def test_a_public_address_is_found(text):
    assert has_ip_address(text)


@pytest.mark.parametrize(
    "text",
    [
        "192.168.1.1",
        "127.0.0.1",
        "version 1.2.3.4",
        "v8.8.8.8",
        "10.0.19045.1",
        "1.2.3.4.5",
        "12:30:45",
        "a::b",
        "std::io::x",
    ],
)
def test_private_addresses_versions_and_times_are_none(text):
    assert not has_ip_address(text)
