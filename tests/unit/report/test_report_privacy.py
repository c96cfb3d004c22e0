"""Masking: what is recognised, what is left alone, and checks against independent arithmetic."""

from __future__ import annotations

import random

import pytest

from tunewright.report.privacy import Policy, mask

MASKED = [
    ("write to ann.lee+x@mail.example.org now", "write to [email] now"),
    ("邮箱abc_123@qq.com谢谢", "邮箱[email]谢谢"),
    ("ａｎｎ＠ｅｘａｍｐｌｅ．ｃｏｍ", "[email]"),
    ("call (555) 010-4477", "call [phone]"),
    ("call 555-010-4477 or 555.010.4477", "call [phone] or [phone]"),
    ("+1 555 010 4477, +44 20 7946 0958", "[phone], [phone]"),
    ("+49 (0)30 901820", "[phone]"),
    ("tel 030 90182012", "tel [phone]"),
    ("ring 020 7946 0958", "ring [phone]"),
    ("我的手机13812345678请联系", "我的手机[phone]请联系"),
    ("138 1234 5678 / 138-1234-5678 / +86 138 1234 5678", "[phone] / [phone] / [phone]"),
    ("电话１３８１２３４５６７８", "电话[phone]"),
    ("座机010-62345678，客服400-820-8820", "座机[phone]，客服[phone]"),
    ("1-800-555-0199", "[phone]"),
    ("card 4111 1111 1111 1111.", "card [card]."),
    ("card 4111111111111111", "card [card]"),
    ("amex 3782 822463 10005 cvv 123", "amex [card] cvv 123"),
    ("2024 4111 1111 1111 1111", "2024 [card]"),
    ("4111-1111-1111-1111 123", "[card] 123"),
    ("IBAN DE89 3704 0044 0532 0130 00 please", "IBAN [iban] please"),
    ("GB82WEST12345698765432", "[iban]"),
    ("BE68 5390 0754 7034 is mine", "[iban] is mine"),
    ("iban de89370400440532013000", "iban [iban]"),
    ("from 192.168.0.17 to 10.0.0.1", "from [ip] to [ip]"),
    ("at 2001:db8::8a2e:370:7334 and fe80::1", "at [ip] and [ip]"),
    ("身份证11010519491231002X，谢谢", "身份证[id]，谢谢"),
    ("旧证号110105491231002", "旧证号[id]"),
    ("ssn 078-05-1120", "ssn [id]"),
    ("服务器192.168.1.254打不开，请联系wang.li@example.com.cn。", "服务器[ip]打不开，请联系[email]。"),
    ("卡号6222021234567890128，手机138-1234-5678", "卡号[card]，手机[phone]"),
    ("her ID 11010519491231002X, mobile +86 13812345678", "her ID [id], mobile [phone]"),
    ("身份证１１０１０５１９４９１２３１００２Ｘ", "身份证[id]"),
    ("客户端2001:db8::ff00:42:8329已断开", "客户端[ip]已断开"),
]
KEPT = [
    "10,605 rows on 2024-01-15 at 12:30:45",
    "between 1939-1945 and 2019-2021",
    "version 2.13.0, pi is 3.14159265358979",
    "order 1234 5678, price $19.99",
    "ratio 16:9, chapter 3:16",
    "it cost 1,234,567.89 in 2008",
    "the score was 21-14 in 90 minutes",
    "使用了2000条数据，准确率0.8524",
    "std::vector and a::b",
    "user@home and @name",
    "4111 1111 1111 1112",
    "110105194912310021",
    "999.999.999.999",
]


@pytest.mark.parametrize(("text", "expected"), MASKED)
def test_personal_data_is_replaced_by_its_kind(text: str, expected: str) -> None:
    assert mask(text) == expected
    assert mask(mask(text)) == expected


@pytest.mark.parametrize("text", KEPT)
def test_other_numbers_are_left_alone(text: str) -> None:
    assert mask(text) == text


def test_generated_cards_are_masked_and_their_neighbours_are_not() -> None:
    """The check digit by the table form of the Luhn algorithm, independent of the one under test."""
    table = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
    source = random.Random(1)
    for _ in range(200):
        payload = [4, *(source.randrange(10) for _ in range(14))]
        total = sum(table[d] if i % 2 == 0 else d for i, d in enumerate(payload))
        check = -total % 10
        digits = "".join(map(str, payload))
        groups = " ".join((digits + str(check))[i : i + 4] for i in range(0, 16, 4))
        assert mask(f"({digits}{check})") == "([card])"
        assert mask(groups) == "[card]"
        assert "[card]" not in mask(f"{digits}{(check + 1) % 10}")


def test_generated_ibans_are_masked() -> None:
    """Check digits as ISO 13616 says: 98 minus the remainder of the rearranged number with 00 in their place."""
    source = random.Random(2)
    for _ in range(200):
        account = "".join(source.choice("0123456789") for _ in range(18))
        check = 98 - int(account + "131400") % 97  # DE is 13 14
        code = f"DE{check:02d}{account}"
        grouped = " ".join(code[i : i + 4] for i in range(0, 22, 4))
        assert mask(f"to {code}, {grouped}.") == "to [iban], [iban]."
        assert "[iban]" not in mask(f"DE{(check + 1) % 100:02d}{account}")


def test_generated_identity_numbers_are_masked() -> None:
    """MOD 11-2 in its recursive form (ISO 7064): p = (p + a) * 2 mod 11; the check makes p + c = 1 mod 11."""
    source = random.Random(3)
    for _ in range(200):
        born = f"19{source.randrange(40, 99)}0{source.randrange(1, 10)}1{source.randrange(10)}"
        digits = f"440{source.randrange(1000):03d}{born}{source.randrange(1000):03d}"
        state = 0
        for digit in digits:
            state = (state + int(digit)) * 2 % 11
        check = (1 - state) % 11
        assert mask(f"证{digits}{'X' if check == 10 else check}。") == "证[id]。"


@pytest.mark.parametrize(
    "text",
    [
        "1 " * 10_000,
        "4 " * 10_000,
        "1" * 60_000,
        "a." * 30_000 + "@",
        "+1" * 30_000,
        ":" * 60_000,
        "DE89" * 15_000,
        "(" * 60_000,
    ],
)
def test_long_hostile_text_is_masked_in_linear_time(text: str) -> None:
    """A pattern that backtracks over the whole text would not end here within the time limit of the suite."""
    assert isinstance(mask(text), str)


def test_policy_masks_only_when_asked() -> None:
    assert Policy().text("a@b.org") == "[email]"
    assert Policy(masked=False).text("a@b.org") == "a@b.org"
