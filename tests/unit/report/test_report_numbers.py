"""Words, numbers, axes and curves behind the page, against independent oracles; the colours of the style sheet."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunewright import words
from tunewright.report import wording
from tunewright.report.node import Node
from tunewright.report.render import style_sheet
from tunewright.report.section.confusion import SHADES, shade
from tunewright.report.section.training import smooth
from tunewright.report.svg import Axis, axis, curves, unit_axis
from tunewright.report.terminal import summary


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (wording.whole(1234567), "1,234,567"),
        (wording.decimal(0.85243), "0.852"),
        (wording.decimal(0.00004), "< 0.001"),
        (wording.decimal(-0.00004), "> −0.001"),
        (wording.decimal(0.0), "0.000"),
        (wording.signed(0.0589), "+0.059"),
        (wording.signed(-0.0589), "−0.059"),
        (wording.signed(-0.00001), "0.000"),
        (wording.p_value(1e-40), "p < 0.001"),
        (wording.p_value(0.0123), "p = 0.012"),
        (wording.p_value(0.42), "p = 0.42"),
        (wording.p_value(1.0), "p = 1.00"),
        (wording.percent(1, 3), "33 %"),
        (wording.percent(2, 10605), "< 0.1 %"),
        (wording.percent(10604, 10605), "> 99.9 %"),
        (wording.percent(99.5, 100), "99.5 %"),
        (wording.percent(5, 100), "5.0 %"),
        (wording.percent(1, 0), ""),
        (wording.significant(5e-5), "5e−5"),
        (wording.significant(2.0), "2"),
        (wording.significant(0.38793), "0.388"),
        (wording.significant(1234567.5), "1.23e6"),
        (words.duration(0.01), "< 0.1 s"),
        (words.duration(9.94), "9.9 s"),
        (words.duration(249.4), "4 min 9 s"),
        (words.duration(7500), "2 h 5 min"),
        (words.size(812), "812 bytes"),
        (words.size(1412345678), "1.4 GB"),
        (words.size(999_999), "1.0 MB"),
        (wording.large(22713216), "22.7 million"),
        (wording.large(999_999_999), "1 billion"),
    ],
)
def test_numbers_are_written_as_a_person_reads_them(call: str, expected: str) -> None:
    assert call == expected


@settings(deadline=None, derandomize=True)
@given(st.lists(st.floats(-1e9, 1e9, allow_nan=False), min_size=1, max_size=20), st.booleans())
def test_axis_covers_its_values_with_round_steps(values: list[float], zero: bool) -> None:
    found = axis(values, zero=zero)
    span = found.high - found.low
    assert found.low <= min(values) + 1e-6 * span
    assert found.high >= max(values) - 1e-6 * span
    assert 2 <= len(found.ticks) <= 8
    assert span > 0
    step = span / (len(found.ticks) - 1)
    assert round(step / 10 ** math.floor(math.log10(step) + 1e-6), 6) in (1, 2, 5)
    if zero:
        assert any(abs(value) < 1e-9 * span for value, _ in found.ticks)


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ((0.79, 0.861), ["0.78", "0.80", "0.82", "0.84", "0.86", "0.88"]),
        ((0, 2951), ["0", "1,000", "2,000", "3,000"]),
        ((0, 5e-5), ["0", "2e−5", "4e−5", "6e−5"]),
        ((-0.1, 0.4), ["−0.2", "0", "0.2", "0.4"]),
    ],
)
def test_tick_labels_have_the_digits_of_their_step(values: tuple[float, float], labels: list[str]) -> None:
    assert [label for _, label in axis(values).ticks] == labels


def test_axis_without_spread_or_values_still_draws() -> None:
    for values in ([], [0.0], [0.75], [-3.0, -3.0], [math.nan], [1e-300]):
        found = axis(values)
        assert found.high > found.low
        assert all(0 <= found.share(value) <= 100 for value in values if not math.isnan(value))


def test_path_leaves_out_only_points_on_a_straight_line() -> None:
    x, y = unit_axis(), unit_axis(upward=True)
    drawn = curves(x, y, [([(0, 0), (0.25, 0.25), (0.5, 0.5), (0.5, 0.5), (1, 0.5)], "line")])
    assert 'd="M0,1000L500,500L1000,500"' in drawn
    turned = curves(x, y, [([(0, 0), (1, 0), (0.5, 0)], "line")])
    assert 'd="M0,1000L1000,1000L500,1000"' in turned


def test_curve_of_many_points_stays_within_a_thousandth_of_the_plot() -> None:
    points = [(i / 50_000, math.sin(i / 16_000) / 2 + 0.5) for i in range(50_001)]
    path = re.search(r'd="M([^"]+)"', curves(unit_axis(), Axis(0, 1, ()), [(points, "line")]))
    assert path is not None
    kept = np.array([[float(n) for n in place.split(",")] for place in path[1].split("L")])
    assert len(kept) <= 2000
    wanted = np.array(points) * 1000
    assert np.abs(np.interp(wanted[:, 0], kept[:, 0], kept[:, 1]) - wanted[:, 1]).max() <= 2.5


def test_noise_of_many_points_keeps_its_extremes_in_few() -> None:
    values = np.random.default_rng(1).uniform(size=100_000)
    values[31_415], values[27_182] = 3.0, -3.0
    points = [(float(i), float(value)) for i, value in enumerate(values)]
    path = re.search(r'd="M([^"]+)"', curves(Axis(0, 100_000, ()), Axis(-3, 3, (), True), [(points, "line")]))
    assert path is not None
    kept = [[int(n) for n in place.split(",")] for place in path[1].split("L")]
    assert len(kept) <= 4 * 1001
    assert [314, 0] in kept
    assert [272, 1000] in kept


def test_smoothing_is_the_mean_over_the_window() -> None:
    values = np.random.default_rng(0).normal(size=101)
    found = np.array([value for _, value in smooth([(float(i), float(v)) for i, v in enumerate(values)], 9)])
    kernel = np.ones(9)
    expected = np.convolve(values, kernel, "same") / np.convolve(np.ones(101), kernel, "same")
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_shades_rise_with_the_share() -> None:
    assert shade(0) == 0
    assert shade(1e-9) == 1
    assert shade(1.0) == len(SHADES)
    assert [shade(share) for share in (0.01, 0.03, 0.07, 0.15, 0.3, 0.5, 0.9)] == [1, 2, 3, 4, 5, 6, 7]


def test_node_reads_only_what_has_the_right_shape() -> None:
    node = Node({"a": {"b": [1, 2.5]}, "t": True, "n": float("nan"), "big": 10**400, "s": "x", "i": [2, 1]})
    assert node["a"]["b"].numbers() == [1.0, 2.5]
    assert node["a"]["b"].span() == (1.0, 2.5)
    assert node["a"]["nothing"]["further"].items() == []
    assert node["s"]["a"].number() is None
    assert node["t"].number() is None
    assert node["n"].number() is None
    assert node["big"].number() is None
    assert node["i"].span() is None
    assert node["s"].items() == []
    assert not Node({})
    assert Node(0)
    assert {path: leaf.value for path, leaf in Node({"a": {"b": 1, "c": {}}, "d": [1]}).leaves()} == {
        "a.b": 1,
        "a.c": {},
        "d": [1],
    }


# ------------------------------------------------------------------------------------------------------------ colours


def _themes() -> tuple[dict[str, str], dict[str, str]]:
    blocks = re.findall(r":root \{(.*?)\}", style_sheet(), flags=re.S)
    light, dark = (dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6});", block)) for block in blocks[:2])
    return light, light | dark


def _luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(first: str, second: str) -> float:
    lighter, darker = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _mixed(first: str, percent: float, second: str) -> str:
    pairs = [(int(first[i : i + 2], 16), int(second[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(a * percent / 100 + b * (1 - percent / 100)):02x}" for a, b in pairs)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_has_a_contrast_of_four_and_a_half(theme: int) -> None:
    colours = _themes()[theme]
    for name in ("ink", "muted", "tuned", "good", "bad", "unsure", "second"):
        assert _contrast(colours[name], colours["paper"]) >= 4.5, name
        assert _contrast(colours[name], colours["raised"]) >= 4.5, name
    for name in ("tuned", "second", "third", "neutral", "bad"):
        assert _contrast(colours[name], colours["paper"]) >= 3, name


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_every_cell_of_the_heat_map_is_legible(theme: int) -> None:
    colours = _themes()[theme]
    cells = re.findall(
        r"\.(yes|no)(\d) \{ background: color-mix\(in srgb, var\(--(\w+)\) (\d+)%, var\(--paper\)\);(.*?)\}",
        style_sheet(),
    )
    assert len(cells) == 12
    for _, _, name, part, rest in cells:
        text = colours["paper"] if "color: var(--paper)" in rest else colours["ink"]
        assert _contrast(text, _mixed(colours[name], float(part), colours["paper"])) >= 4.5, (name, part)


# ----------------------------------------------------------------------------------------------------------- terminal


def test_summary_has_the_verdict_the_table_and_what_to_type(result: dict[str, Any]) -> None:
    found = summary(result, "/tmp/report.html")
    assert (found.outcome, found.style, found.headline) == ("better", "good", "The tuned model is better.")
    assert [line.system for line in found.lines] == [
        "Tuned model",
        "NB-SVM",
        "Untouched base",
        "TF-IDF + logistic regression",
        "Most frequent label",
    ]
    nb_svm = found.lines[1]
    assert (nb_svm.score, nb_svm.difference, nb_svm.interval, nb_svm.p) == (
        "0.793",
        "+0.059",
        "+0.041 to +0.077",
        "p < 0.001",
    )
    assert nb_svm.required
    assert nb_svm.style == "good"
    assert not found.lines[3].required
    assert found.judged == "2,121 test rows"
    assert found.metric == "Accuracy"
    assert found.report == "/tmp/report.html"
    assert found.next_commands[0].startswith("tunewright predict")
    assert len(found.next_commands) == 3
    assert found.cause == "fine"
    assert len(found.evidence) == 2


@pytest.mark.parametrize(("name", "style"), [("chinese", "bad"), ("tiny", "unsure"), ("partial", "unsure")])
def test_summary_of_other_outcomes(results: dict[str, dict[str, Any]], name: str, style: str) -> None:
    assert summary(results[name]).style == style


def test_summary_of_nothing_is_empty_but_there() -> None:
    found = summary({})
    assert found.headline == "There is no verdict in this result."
    assert found.lines == ()
    assert found.next_commands == ()
