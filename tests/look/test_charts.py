"""The charts of the training page: ticks, smoothing, labels that keep apart, and what is joined by dashes."""

from __future__ import annotations

import numpy as np
import pytest

from minigrad.look.pages.html import ASSETS

pytest_plugins = ["browser"]


@pytest.fixture
def js(browser):
    """Calls a function of the scripts."""
    source = "".join((ASSETS / f"{name}.js").read_text(encoding="utf-8") for name in ("base", "chart"))

    def call(expression, *arguments):
        return browser.run(f"{source}; return ({expression});", *arguments)

    return call


@pytest.mark.parametrize(
    ("low", "high", "wanted", "expected"),
    [
        (0, 10, 5, [0, 2, 4, 6, 8, 10]),
        (1, 200, 6, [50, 100, 150, 200]),
        (-0.3, 0.3, 3, [-0.2, 0, 0.2]),
        (2.31, 2.39, 4, [2.32, 2.34, 2.36, 2.38]),
        (0, 0.001, 5, [0, 0.0002, 0.0004, 0.0006, 0.0008, 0.001]),
        (5, 5, 5, [5]),
    ],
)
def test_ticks_are_round_and_within(js, low, high, wanted, expected):
    assert js("ticks(...arguments)", low, high, wanted) == expected


def test_logarithmic_ticks(js):
    assert js("logTicks(30)") == [1, 2, 5, 10, 20]
    assert js("logTicks(20000)") == [1, 10, 100, 1000, 10000]


def test_a_smoothed_line_is_that_line_and_noise_is_averaged_out(js):
    """A slope comes back as it is, at both ends too, where a running mean would be late."""
    line = [[n, 5 - 0.01 * n] for n in range(1, 201)]
    assert js("smooth(arguments[0])", line) == [[x, pytest.approx(y)] for x, y in line]
    noise = np.random.default_rng(0).normal(size=200)
    smooth = js("smooth(arguments[0])", [[n + 1, float(v)] for n, v in enumerate(noise)])
    assert np.std([y for _, y in smooth]) < 0.4 * noise.std()
    assert js("smooth([[1, 3]])") == [[1, 3]]
    assert js("smooth([[1, 3], [2, null], [3, 3]])") == [[1, 3], [3, 3]]


def test_labels_keep_apart_and_within(js):
    assert js("apart([10, 12, 50], 13, 0, 100)") == [10, 23, 50]
    assert js("apart([95, 96], 13, 0, 100)") == [87, 100]
    assert js("apart([], 13, 0, 100)") == []
    placed = js("apart([40, 41, 42, 43], 13, 0, 60)")
    assert np.diff(sorted(placed)).min() >= 13 and max(placed) <= 60


def test_only_neighbours_are_joined_by_a_solid_line(js):
    parts = js("stretches([[1, 0], [2, 0], [3, 0], [9, 0], [20, 0]], 1)")
    assert [(part["dashed"], [x for x, _ in part["points"]]) for part in parts] == [
        (False, [1, 2, 3]),
        (True, [3, 9, 20]),
    ]
    assert js("stretches([[1, 0]], 1)") == []


@pytest.mark.parametrize("logarithmic", [False, True])
@pytest.mark.parametrize(("width", "steps"), [(220, 7), (320, 200), (640, 20000), (640, 1)])
def test_no_label_is_cut_or_covered(js, browser, width, steps, logarithmic):
    found = js(
        """(() => {
          const place = document.createElement("div");
          place.style.cssText = `font: 11px sans-serif; width: ${arguments[0]}px`;
          document.body.append(place);
          const points = [[1, 4.6], [Math.ceil(arguments[1] / 3), 3], [arguments[1], 2.4]];
          const levels = { uniform: 4.6, unigram: 4.55, bigram: 2.4 };
          chart(place, { width: arguments[0], steps: arguments[1], logarithmic: arguments[2], levels,
            lines: [{ name: "loss", points, look: "train", dots: true, gap: 1 }] })(1);
          place.querySelectorAll("text").forEach((text) => (text.style.fontSize = "11px"));
          const boxes = [...place.querySelectorAll("text")].map((text) => text.getBBox())
            .map((b) => [b.x, b.y, b.x + b.width, b.y + b.height]);
          const said = place.textContent;
          place.remove();
          return { boxes, said };
        })()""",
        width, steps, logarithmic,
    )  # fmt: skip
    assert "guessing by uniform, 4.6" in found["said"] and "step 1: loss 4.6" in found["said"]
    boxes = found["boxes"]
    assert all(min(x0, y0 + 1) >= 0 and x1 <= width + 0.5 and y1 <= 231 for x0, y0, x1, y1 in boxes)
    for i, (a, b, c, d) in enumerate(boxes):
        for p, q, r, s in boxes[i + 1 :]:
            assert not (min(c, r) - max(a, p) > 1 and min(d, s) - max(b, q) > 3), "one text lies on another"
