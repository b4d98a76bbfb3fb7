"""Credentials: keys by their shapes, values by what they are assigned to."""

import pytest

from weighbridge.policies.credentials import (
    has_assignment,
    has_key_shape,
    has_password_in_url,
    has_private_key,
    looks_random,
)

# Put together here, so that no scanner takes this file for a leak.
KEYS = [
    "sk-" + "proj-abcDEF1234567890abcDEF1234567890",
    "sk-" + "ant-api03-AbCdEf1234567890AbCdEf",
    "gh" + "p_aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789",
    "github" + "_pat_11ABCDEFG0abcdefghijkl_mnopqrstuvwxyz0123456789",
    "AKIA" + "IOSFODNN7ABCDEFG",
    "xox" + "b-123456789012-abcdefGHIJKL",
    "AIza" + "SyA1234567890abcdefghijklmnopqrstuv",
    "hf" + "_abcDEFghiJKLmnoPQRstuVWXyz01234567",
    "glpat" + "-abcdefGHIJ1234567890",
    "sk_live" + "_4eC39HqLyjWDarjtT1zdp7dc",
    "npm" + "_aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789",
    "eyJhbGciOiJIUzI1NiJ9" + ".eyJzdWIiOiIxMjM0NTY3ODkwIn0.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c",
]


@pytest.mark.parametrize("key", KEYS)
def test_a_key_of_a_known_shape_is_found(key):
    assert has_key_shape(key)
    assert has_key_shape(f"OPENAI_API_KEY={key}")


@pytest.mark.parametrize(
    "word",
    [
        "sk-your-api-key-goes-here-please",
        "sk-xxxxxxxxxxxxxxxxxxxxxxxx",
        "sk-learn-is-a-library-for-python",
        "task-" + KEYS[0][3:],
    ],
)
def test_stand_ins_and_names_are_no_keys(word):
    assert not has_key_shape(word)


@pytest.mark.parametrize("kind", ["", "RSA ", "EC ", "OPENSSH ", "ENCRYPTED "])
def test_a_private_key_is_found(kind):
    assert has_private_key(f"-----BEGIN {kind}PRIVATE KEY-----\nMIIE")
    assert not has_private_key(f"-----BEGIN {kind}PUBLIC KEY-----")


@pytest.mark.parametrize(
    "url", ["postgres://admin:s3cr3tPw@db.example.com/x", "https://:tok3n@host", "redis://u:p%40ss@[::1]"]
)
def test_a_password_in_an_address_is_found(url):
    assert has_password_in_url(f"use {url} for it")


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com:8080/a@b",
        "postgres://user:password@host",
        "https://u:${PW}@host",
        "https://u:<secret>@host",
    ],
)
def test_addresses_without_one_are_not(url):
    assert not has_password_in_url(url)


@pytest.mark.parametrize(
    "text",
    [
        'password = "Tr0ub4dor&3x"',
        "DB_PASSWORD=Zx9!kLm2#qP",
        'api_key: "9f8a7b6c5d4e3f2a1b0c"',
        "X-Api-Key: 9f8a7b6c5d4e3f2a1b0c",
        "{'token': 'a8f5f167f44f4964e6c998dee827110c'}",
        'config["secret"] = "q8Zt-71mB-ww3L"',
        "Authorization: Bearer abcdef0123456789abcdef",
        "Authorization: Basic dXNlcjpodW50ZXIy",
        "my password is Tr0ub4dor&3",
        "PASSWORD := 'Tr0ub4dor&3'",
        "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYzzzzKEY",
    ],
)
def test_a_secret_assigned_to_its_name_is_found(text):
    assert has_assignment(text.encode())


@pytest.mark.parametrize(
    "text",
    [
        'password = os.environ["DB_PASSWORD"]',
        "api_key: ${API_KEY}",
        "token = get_token(user)",
        "max_tokens: 4096, token_limit=8192",
        "token: str | None = None",
        "secret: process.env.SECRET_1",
        "the token is in config.auth.token2",
        "def password_reset(request): return 1",
        "The password is required.",
        "api_key = settings.KEY_2",
        "token_url: https://auth.example.com/v2",
        "password: changeme123",
        "monkey = a1b2c3d4e5f6",
        "primary_key: user_id_2",
    ],
)
def test_programmes_and_stand_ins_are_none(text):
    assert not has_assignment(text.encode())


def test_what_looks_drawn_by_lot_mixes_letters_and_digits():
    assert looks_random("x7Kq92mZ")
    for value in ("x7Kq", "abcdefgh", "12345678", "aaaaaaa1", "user.name2", "/usr/lib64", "MY_KEY_2"):
        assert not looks_random(value)
