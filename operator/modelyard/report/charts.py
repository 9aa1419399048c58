"""Charts as SVG: drawn from numbers, coloured by the page's style, described for those who cannot see them."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from modelyard.report.markup import slug, text
from modelyard.statistics.curves import Curve, Histogram

_WIDTH: Final = 360
_HEIGHT: Final = 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 350, 28, 238
_BAR_HEIGHT: Final = 20
_BAR_LEFT: Final = 130
_BAR_TOP: Final = 8
_TICKS: Final = 5
_NAME: Final = 18
_MARGIN: Final = 0.04
_THOUSAND: Final = 1e3
_TRILLION: Final = 1e12
MODEL: Final = "model"
CHAMPION: Final = "champion"
OTHER: Final = "other"


@dataclass(frozen=True)
class Axis:
    """An axis: what it measures, and from where to where."""

    title: str
    low: float = 0.0
    high: float = 1.0

    @classmethod
    def around(cls, title: str, values: Iterable[float], *, from_zero: bool = False) -> "Axis":
        """Return an axis that holds all values."""
        found = list(values)
        low, high = min(found, default=0.0), max(found, default=1.0)
        low = min(low, 0.0) if from_zero else low
        space = (high - low) * _MARGIN or abs(high) * _MARGIN or 1.0
        return cls(title, low if from_zero and low == 0 else low - space, high + space)

    @property
    def ticks(self) -> list[float]:
        """Round numbers on the axis."""
        raw = (self.high - self.low) / _TICKS
        power = 10.0 ** math.floor(math.log10(raw))
        step = next((power * factor for factor in (1, 2, 5) if power * factor >= raw), power * 10)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [index * step for index in range(first, last + 1)]


@dataclass(frozen=True)
class Line:
    """A curve of one of the two models."""

    name: str
    track: str
    curve: Curve
    has_marks: bool = False


@dataclass(frozen=True)
class Bar:
    """A bar, and how far from its end the truth may be."""

    name: str
    value: float
    deviation: float


def number(value: float) -> str:
    """Return a number as people read it, in about four significant digits."""
    return f"{value:,.0f}" if _THOUSAND <= abs(value) < _TRILLION else f"{value:.4g}"


def line_chart(title: str, description: str, x: Axis, y: Axis, lines: Sequence[Line], *, ideal: Line | None) -> str:
    """Draw curves; `ideal` is what a useless or a perfect model would draw."""
    parts = [_frame(x, y), _legend([(line.name, line.track) for line in lines])]
    if ideal:
        parts.append(f'<path class="ideal" d="{_path(ideal.curve, x, y)}"/>')
    for line in lines:
        parts.append(f'<path class="curve {line.track}" d="{_path(line.curve, x, y)}"/>')
        if line.has_marks:
            points = zip(line.curve.x, line.curve.y, strict=True)
            parts.extend(
                f'<circle class="mark {line.track}" cx="{_x(x, a)}" cy="{_y(y, b)}" r="3"/>' for a, b in points
            )
    return _svg(title, description, _HEIGHT, parts)


def histogram_chart(title: str, description: str, x_title: str, histogram: Histogram, tracks: Sequence[str]) -> str:
    """Draw counts as bars, those of several groups side by side."""
    edges = histogram.edges
    x = Axis(x_title, float(edges[0]), float(edges[-1]))
    shares = {name: counts / max(counts.sum(), 1) for name, counts in histogram.counts.items()}
    y = Axis("share of rows", 0.0, max((float(share.max()) for share in shares.values()), default=1.0) * 1.05 or 1.0)
    parts = [_frame(x, y), _legend(list(zip(histogram.counts, tracks, strict=True)))]
    for position, (share, track) in enumerate(zip(shares.values(), tracks, strict=True)):
        for low, high, value in zip(edges[:-1], edges[1:], share, strict=True):
            width = float(high - low) / len(shares)
            left, right = _x(x, float(low) + position * width), _x(x, float(low) + (position + 0.9) * width)
            top = _y(y, float(value))
            parts.append(
                f'<rect class="mark {track}" x="{left}" y="{top}" width="{_round(right - left)}" '
                f'height="{_round(_BOTTOM - top)}"/>'
            )
    return _svg(title, description, _HEIGHT, parts)


def scatter_chart(title: str, description: str, x: Axis, y: Axis, points: Curve, *, ideal: Curve) -> str:
    """Draw one dot a row."""
    dots = "".join(
        f'<circle class="dot" cx="{_x(x, float(a))}" cy="{_y(y, float(b))}" r="2.5"/>'
        for a, b in zip(points.x, points.y, strict=True)
    )
    return _svg(title, description, _HEIGHT, [_frame(x, y), dots, f'<path class="ideal" d="{_path(ideal, x, y)}"/>'])


def bar_chart(title: str, description: str, x_title: str, bars: Sequence[Bar]) -> str:
    """Draw horizontal bars from zero, the first on top."""
    ends = [end for bar in bars for end in (bar.value - bar.deviation, bar.value + bar.deviation)]
    x = Axis.around(x_title, ends, from_zero=True)
    bottom = _BAR_TOP + _BAR_HEIGHT * len(bars)
    zero = _bar_x(x, 0.0)
    parts = [
        f'<path class="grid" d="M{_bar_x(x, tick)} {_BAR_TOP}V{bottom}"/>'
        f'<text class="soft" x="{_bar_x(x, tick)}" y="{bottom + 16}" text-anchor="middle">{number(tick)}</text>'
        for tick in x.ticks
    ]
    for index, bar in enumerate(bars):
        middle = _BAR_TOP + _BAR_HEIGHT * (index + 0.5)
        end = _bar_x(x, bar.value)
        low, high = _bar_x(x, bar.value - bar.deviation), _bar_x(x, bar.value + bar.deviation)
        parts.append(
            f'<text x="{_BAR_LEFT - 6}" y="{middle + 4}" text-anchor="end">{text(_cut(bar.name))}</text>'
            f'<rect class="mark model" x="{min(zero, end)}" y="{middle - 6}" width="{_round(abs(end - zero))}" '
            f'height="12"/><path class="error" d="M{low} {middle}H{high}"/>'
        )
    parts.append(f'<path class="axis" d="M{zero} {_BAR_TOP}V{bottom}"/>')
    parts.append(_x_title(x_title, (_BAR_LEFT + _RIGHT) / 2, bottom + 34))
    return _svg(title, description, bottom + 42, parts)


def _svg(title: str, description: str, height: int, parts: Iterable[str]) -> str:
    name = slug(title)
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-labelledby="{name}-t {name}-d">'
        f'<title id="{name}-t">{text(title)}</title><desc id="{name}-d">{text(description)}</desc>'
        f"{''.join(parts)}</svg>"
    )


def _frame(x: Axis, y: Axis) -> str:
    parts = [f'<path class="axis" d="M{_LEFT} {_TOP}V{_BOTTOM}H{_RIGHT}"/>']
    for tick in x.ticks:
        at = _x(x, tick)
        parts.append(
            f'<path class="grid" d="M{at} {_TOP}V{_BOTTOM}"/>'
            f'<text class="soft" x="{at}" y="{_BOTTOM + 16}" text-anchor="middle">{number(tick)}</text>'
        )
    for tick in y.ticks:
        at = _y(y, tick)
        parts.append(
            f'<path class="grid" d="M{_LEFT} {at}H{_RIGHT}"/>'
            f'<text class="soft" x="{_LEFT - 5}" y="{_round(at + 4)}" text-anchor="end">{number(tick)}</text>'
        )
    parts.append(_x_title(x.title, (_LEFT + _RIGHT) / 2, _BOTTOM + 34))
    parts.append(f'<text class="soft" x="2" y="12">{text(y.title)}</text>')
    return "".join(parts)


def _x_title(title: str, x: float, y: float) -> str:
    return f'<text class="soft" x="{_round(x)}" y="{y}" text-anchor="middle">{text(title)}</text>'


def _legend(entries: Sequence[tuple[str, str]]) -> str:
    """Name the tracks at the top right, the first to the left."""
    parts, right = [], float(_RIGHT)
    for name, track in reversed(entries):
        shown = _cut(name)
        left = right - 7.0 * len(shown)
        parts.append(f'<text x="{_round(left)}" y="12">{text(shown)}</text>')
        parts.append(f'<path class="curve {track}" d="M{_round(left - 26)} 8h20"/>')
        right = left - 38
    return "".join(parts)


def _path(curve: Curve, x: Axis, y: Axis) -> str:
    points = zip(curve.x, curve.y, strict=True)
    return "M" + "L".join(f"{_x(x, float(a))} {_y(y, float(b))}" for a, b in points)


def _x(axis: Axis, value: float) -> float:
    return _round(_LEFT + (value - axis.low) / (axis.high - axis.low) * (_RIGHT - _LEFT))


def _y(axis: Axis, value: float) -> float:
    return _round(_BOTTOM - (value - axis.low) / (axis.high - axis.low) * (_BOTTOM - _TOP))


def _bar_x(axis: Axis, value: float) -> float:
    return _round(_BAR_LEFT + (value - axis.low) / (axis.high - axis.low) * (_RIGHT - _BAR_LEFT))


def _round(value: float) -> float:
    return round(value, 1)


def _cut(name: str) -> str:
    return name if len(name) <= _NAME else f"{name[: _NAME - 1]}…"
