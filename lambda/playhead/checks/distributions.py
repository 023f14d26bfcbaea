"""Distributions as counts that can be added up, and how far one is from another.

Numbers are counted in the cells of a fixed grid, each as wide as `ACCURACY` of its values (C. Masson, J. Rim, H. Lee,
DDSketch, PVLDB 12, 2019). As the grid is the same for all data, the profile of two days is the sum of their profiles.
Texts are counted by themselves.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal, TypeAlias

ACCURACY = 0.01
"""How far a number is at most from the middle of its cell, as a share of the number."""

LEAST, MOST = 1e-9, 1e18
"""Numbers nearer to 0 are counted as 0, those further from it as the last of the grid."""

LOG_WIDTH = math.log((1 + ACCURACY) / (1 - ACCURACY))
"""Logarithm of a cell's upper bound over its lower."""

QUANTILE_BINS = 10
TEXT_BINS = 20
_CHANCE = 0.9999
"""How sure it must be that a distance is no chance: of 10,000 that are, one is taken for drift."""

Kind: TypeAlias = Literal["number", "text"]


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What values a column has.

    Attributes:
        kind: number: a cell is the number of its place in the grid, as text, negative for negative numbers, 0 for 0.
            text: a cell is a value.
        cells: cell to how many values are in it.
        other: how many texts were too rare for a cell of their own.
        rows: how many rows there were, nulls too.
        nulls: of them, those without a value.
        keyed: of the rows, those of a known entity.
        squares: the sum over entities of the square of their number of rows.
    """

    kind: Kind
    cells: Mapping[str, int]
    rows: int
    nulls: int = 0
    other: int = 0
    keyed: int
    squares: float

    @property
    def samples(self) -> float:
        """As how many independent rows these count: n = (Σw)² / Σw², w being rows of an entity (L. Kish, Survey
        Sampling, 1965). A thousand candidates of one user are one sample of the user's features.

        >>> Profile(kind="number", cells={}, rows=30, keyed=30, squares=3 * 10.0**2).samples
        3.0
        """
        return self.keyed**2 / self.squares if self.squares else 0.0

    @property
    def valued(self) -> float:
        """As `samples`, of the rows that have a value; nulls are taken to be whole entities."""
        return self.samples * (1 - self.null_rate)

    @property
    def values(self) -> int:
        """How many values were counted; a list has several."""
        return sum(self.cells.values()) + self.other

    @property
    def null_rate(self) -> float:
        """Share of rows without a value."""
        return self.nulls / self.rows if self.rows else 0.0


def merged(profiles: Iterable[Profile]) -> Profile:
    """The profile of all rows together; at least one, all of a kind. An entity counts anew in each.

    >>> one, two = (Profile(kind="text", cells={"a": n}, rows=n, keyed=n, squares=n) for n in (1, 2))
    >>> merged([one, two])
    Profile(kind='text', cells={'a': 3}, rows=3, nulls=0, other=0, keyed=3, squares=3)
    """
    every = list(profiles)
    cells = Counter[str]()
    for each in every:
        cells.update(each.cells)
    return Profile(
        kind=every[0].kind,
        cells=dict(cells),
        rows=sum(each.rows for each in every),
        nulls=sum(each.nulls for each in every),
        other=sum(each.other for each in every),
        keyed=sum(each.keyed for each in every),
        squares=sum(each.squares for each in every),
    )


def middle(cell: int) -> float:
    """The number that is at most `ACCURACY` from all numbers of a cell.

    >>> middle(0), round(middle(1117), 2), round(middle(-1117), 2)
    (0.0, 4.99, -4.99)
    """
    size = LEAST * math.exp(abs(cell) * LOG_WIDTH) * (1 - ACCURACY) if cell else 0.0
    return math.copysign(size, cell)


def psi(p: Sequence[float], q: Sequence[float]) -> float:
    """The population stability index, Σ (p - q) ln(p / q), of shares that are above 0 and add up to 1.

    It is Jeffreys' divergence, KL(p, q) + KL(q, p). Below 0.1 is taken for no drift, above 0.25 for a large one
    (E. Lewis, An Introduction to Credit Scoring, 1994; N. Siddiqi, Credit Risk Scorecards, 2006).

    >>> round(psi([0.5, 0.5], [0.25, 0.75]), 4)  # 0.25 ln 2 - 0.25 ln(2/3)
    0.2747
    """
    return sum((a - b) * math.log(a / b) for a, b in zip(p, q, strict=True))


def kl(p: Sequence[float], q: Sequence[float]) -> float:
    """The divergence of p from q in nats, Σ p ln(p / q); q is above 0 (S. Kullback, R. Leibler, On Information and
    Sufficiency, Annals of Mathematical Statistics 22, 1951).

    >>> round(kl([0.5, 0.5], [0.25, 0.75]), 4)  # 0.5 ln 2 + 0.5 ln(2/3)
    0.1438
    """
    # Rounding may leave less than the 0 that it never goes below.
    return max(0.0, sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0))


def js(p: Sequence[float], q: Sequence[float]) -> float:
    """The Jensen-Shannon divergence in bits, from 0 to 1: the mean divergence of both from their mean (J. Lin,
    Divergence Measures Based on the Shannon Entropy, IEEE Transactions on Information Theory 37, 1991).

    >>> js([1.0, 0.0], [0.0, 1.0]), round(js([0.5, 0.5], [0.25, 0.75]), 4)
    (1.0, 0.0488)
    """
    mean = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
    return min(1.0, (kl(p, mean) + kl(q, mean)) / 2 / math.log(2))


def smoothed(counts: Sequence[int], samples: float) -> list[float]:
    """Shares that are above 0: of so many samples, and half a sample more in each bin (R. Krichevsky, V. Trofimov,
    The Performance of Universal Encoding, IEEE Transactions on Information Theory 27, 1981).

    >>> smoothed([30, 0], samples=3)
    [0.875, 0.125]
    """
    total = sum(counts)
    return [(count / total * samples + 0.5) / (samples + len(counts) / 2) for count in counts]


def chance_psi(bins: int, n: float, m: float) -> float:
    """The PSI that n and m samples of one distribution hardly ever exceed: (1/n + 1/m) times a quantile of the
    chi-square distribution with `bins` - 1 degrees of freedom (B. Yurdakul, Statistical Properties of Population
    Stability Index, Western Michigan University, 2018).

    The quantile is that of E. Wilson and M. Hilferty, The Distribution of Chi-square, PNAS 17, 1931.

    >>> round(chance_psi(10, 100, 1_000), 2)  # 0.011 * 34.1
    0.38
    """
    free = bins - 1
    if not free:
        return 0.0
    spread = 2 / (9 * free)
    return (1 / n + 1 / m) * free * (1 - spread + NormalDist().inv_cdf(_CHANCE) * math.sqrt(spread)) ** 3


def chance_rate(rate: float, n: float, m: float) -> float:
    """The difference that two rates hardly ever exceed, of n and m samples that together have this one: so many
    standard errors of a difference of proportions.

    >>> round(chance_rate(0.5, 100, 400), 3)
    0.208
    """
    return NormalDist().inv_cdf(_CHANCE) * math.sqrt(rate * (1 - rate) * (1 / n + 1 / m))


@dataclass(frozen=True, kw_only=True)
class Bin:
    """A part of the values, and how many of the day and of the reference are in it."""

    name: str
    day: int
    reference: int


@dataclass(frozen=True, kw_only=True)
class Distance:
    """How far a day is from its reference.

    Attributes:
        chance: the PSI that is not beyond chance.
        moved: the bin that did most to it, in words.
    """

    psi: float
    kl: float
    js: float
    chance: float
    moved: str


def distance(day: Profile, reference: Profile) -> Distance:
    """Compare two profiles of a kind, both with values.

    Bins are of the reference: of numbers ten with as many values each, or every cell of its own where there are no
    more; of texts the 20 most frequent. What is in none of them has a bin of its own.
    """
    bins = [each for each in binned(day, reference) if each.day or each.reference]
    counts = [each.day for each in bins], [each.reference for each in bins]
    p, q = smoothed(counts[0], day.valued), smoothed(counts[1], reference.valued)
    real = [[count / sum(own) for count in own] for own in counts]
    parts = [psi([a], [b]) for a, b in zip(p, q, strict=True)]
    most = parts.index(max(parts))
    return Distance(
        psi=sum(parts),
        kl=kl(p, q),
        js=js(*real),
        chance=chance_psi(len(bins), day.valued, reference.valued),
        moved=f"{bins[most].name}: {real[0][most]:.1%}, in the reference {real[1][most]:.1%}",
    )


def binned(day: Profile, reference: Profile) -> list[Bin]:
    """The values of both by bins of the reference, the last of which is what is in no other."""
    return (_by_range if reference.kind == "number" else _by_text)(day, reference)


def _by_text(day: Profile, reference: Profile) -> list[Bin]:
    names = sorted(reference.cells, key=lambda cell: (-reference.cells[cell], cell))[:TEXT_BINS]
    bins = [Bin(name=repr(name), day=day.cells.get(name, 0), reference=reference.cells[name]) for name in names]
    day_rest = day.values - sum(each.day for each in bins)
    reference_rest = reference.values - sum(each.reference for each in bins)
    return [*bins, Bin(name="others", day=day_rest, reference=reference_rest)]


def _by_range(day: Profile, reference: Profile) -> list[Bin]:
    ranges = _ranges({int(cell): count for cell, count in reference.cells.items()})
    firsts = [first for first, _ in ranges]
    counts = []
    for profile in (day, reference):
        own = [0] * (len(ranges) + 1)
        for cell, count in profile.cells.items():
            place = bisect_right(firsts, int(cell)) - 1
            own[place if place >= 0 and int(cell) <= ranges[place][1] else -1] += count
        counts.append(own)
    names = [*(_range_name(*each) for each in ranges), "values outside the reference's"]
    return [Bin(name=name, day=a, reference=b) for name, a, b in zip(names, *counts, strict=True)]


def _ranges(cells: Mapping[int, int]) -> list[tuple[int, int]]:
    """First and last cell of each bin: single cells where there are few, else as many values in each and no gap."""
    places = sorted(cells)
    if len(places) <= QUANTILE_BINS:
        return [(place, place) for place in places]
    enough, held, first, found = sum(cells.values()) / QUANTILE_BINS, 0, places[0], list[tuple[int, int]]()
    for place, following in zip(places, [*places[1:], None], strict=True):
        held += cells[place]
        if following is None:
            found.append((first, place))
        elif held >= enough:
            found.append((first, following - 1))
            held, first = 0, following
    return found


def _range_name(first: int, last: int) -> str:
    low, high = sorted((middle(first), middle(last)))
    return _shown(low) if first == last else f"{_shown(low)} to {_shown(high)}"


def _shown(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2g}"
