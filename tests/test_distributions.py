"""Distances of distributions: their laws, and what is known of them by hand. Profiles: what they are the sums of."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import given
from hypothesis import strategies as st

from playhead.checks.distributions import (
    ACCURACY,
    LEAST,
    MOST,
    Profile,
    binned,
    chance_psi,
    distance,
    js,
    kl,
    merged,
    middle,
    psi,
    smoothed,
)
from playhead.checks.profiles import Measured, Origin, profiles_of
from playhead.config import Settings

X = (Measured(subject="x", column="x", keys=("user_id",)),)
FIRST, SECOND = date(2025, 3, 1), date(2025, 3, 2)

counts = st.lists(st.integers(0, 1_000), min_size=2, max_size=12).filter(any)


def shares(of: Sequence[int]) -> list[float]:
    return smoothed(of, sum(of))


@given(counts, st.randoms(use_true_random=False))
def test_distances_are_0_for_equals_and_never_below(of: list[int], rng: random.Random) -> None:
    other = [*of]
    rng.shuffle(other)
    p, q = shares(of), shares(other)
    assert psi(p, p) == kl(p, p) == js(p, p) == 0
    assert psi(p, q) >= 0
    assert kl(p, q) >= 0
    assert 0 <= js(p, q) <= 1
    assert js(p, q) == pytest.approx(js(q, p), abs=1e-12)
    assert psi(p, q) == pytest.approx(kl(p, q) + kl(q, p), abs=1e-9)
    assert sum(p) == pytest.approx(1)


def test_what_has_nothing_in_common_is_one_bit_apart() -> None:
    assert js([1, 0], [0, 1]) == 1
    assert kl([0.5, 0.5], [0.9, 0.1]) == pytest.approx(0.5 * math.log(0.5 / 0.9) + 0.5 * math.log(5))


def test_chance_alone_hardly_ever_exceeds_what_is_allowed_for_it() -> None:
    rng = random.Random(7)
    allowed = chance_psi(10, 100, 1_000)
    found = []
    for _ in range(500):
        one, other = ([0] * 10, [0] * 10)
        for bins, size in ((one, 100), (other, 1_000)):
            for _ in range(size):
                bins[rng.randrange(10)] += 1
        found.append(psi(smoothed(one, 100), smoothed(other, 1_000)))
    assert max(found) < allowed
    assert sum(found) / len(found) == pytest.approx(9 * (1 / 100 + 1 / 1_000), rel=0.15), "the mean of chi-square"


def numbers(cells: dict[int, int], nulls: int = 0) -> Profile:
    rows = sum(cells.values()) + nulls
    own = {str(cell): count for cell, count in cells.items()}
    return Profile(kind="number", cells=own, rows=rows, nulls=nulls, keyed=rows, squares=rows)


def test_numbers_have_ten_bins_of_the_reference_and_one_for_what_it_never_had() -> None:
    reference = numbers(dict.fromkeys(range(100, 200), 10))
    bins = binned(numbers({50: 1, 100: 2, 199: 3, 200: 4}), reference)
    assert [each.reference for each in bins] == [100] * 10 + [0]
    assert [each.day for each in bins] == [2, 0, 0, 0, 0, 0, 0, 0, 0, 3, 5]


def test_a_constant_that_changes_is_found() -> None:
    far = distance(numbers({1100: 500}), numbers({0: 500}))
    assert far.js == 1
    assert far.psi > far.chance
    assert far.moved == "0: 0.0%, in the reference 100.0%"


def test_a_text_that_is_new_is_found() -> None:
    def texts(**cells: int) -> Profile:
        rows = sum(cells.values())
        return Profile(kind="text", cells=cells, rows=rows, keyed=rows, squares=rows)

    same = distance(texts(jazz=50, pop=150), texts(jazz=250, pop=750))
    assert (same.js, same.psi < 1e-4) == (0, True)
    other = distance(texts(jazz=50, pop=50, polka=100), texts(jazz=250, pop=750))
    assert other.psi > max(other.chance, 0.2)
    assert other.moved == "others: 50.0%, in the reference 0.0%"


def table_of(path: Path, rows: Sequence[dict[str, Any]]) -> Origin:
    kinds = {"user_id": pa.string(), "x": pa.float64(), "genre": pa.string(), "tracks": pa.list_(pa.string())}
    write_deltalake(
        path, pa.Table.from_pylist(rows, pa.schema({**kinds, "dt": pa.string()})), mode="append", partition_by=["dt"]
    )
    measured = tuple(Measured(subject=name, column=name, keys=("user_id",)) for name in ("x", "genre", "tracks"))
    return Origin(source="served", service="s", path=path, measured=measured)


def row(day: date, value: Any, n: int) -> dict[str, Any]:
    tracks = None if value is None else [f"t{n % 3}"] * (n % 4)
    return {"dt": day.isoformat(), "user_id": f"u{n % 7}", "x": value, "genre": f"g{n % 5}", "tracks": tracks}


def test_the_profile_of_two_days_is_the_sum_of_theirs(tmp_path: Path) -> None:
    home, rng = tmp_path, random.Random(5)
    odd = [None, math.nan, math.inf, -math.inf, 0.0, -0.0, 5e-324, 1.7e308]
    one, two = ([*odd, *(rng.gauss(0, 1) * 10 ** rng.randrange(-9, 9) for _ in range(n))] for n in (40, 90))
    apart = [row(FIRST, x, n) for n, x in enumerate(one)] + [row(SECOND, x, n) for n, x in enumerate(two)]
    together = [each | {"dt": FIRST.isoformat(), "user_id": f"{each['dt']} {each['user_id']}"} for each in apart]
    days = profiles_of(Settings(home=home / "a"), table_of(home / "apart", apart), [FIRST, SECOND])
    whole = profiles_of(Settings(home=home / "b"), table_of(home / "together", together), [FIRST])[FIRST]
    for place, profile in whole.items():
        assert merged([days[FIRST][place], days[SECOND][place]]) == profile, place


def test_a_cell_is_as_near_as_it_says(tmp_path: Path) -> None:
    rng = random.Random(3)
    sizes = [rng.choice((-1, 1)) * 10 ** rng.uniform(-8.9, 17.9) for _ in range(200)]
    given_values = [*sizes, 0.0, LEAST / 2, MOST * 2, *map(float, range(1, 51))]
    rows = [row(FIRST, value, 0) | {"user_id": f"u{n}"} for n, value in enumerate(given_values)]
    origin = replace(table_of(tmp_path / "t", rows), measured=X, by="user_id")
    found = profiles_of(Settings(home=tmp_path / "home"), origin, [FIRST])[FIRST]
    cells = {value: int(*found[f"u{n}", "value"].cells) for n, value in enumerate(given_values)}
    for value in sizes:
        assert middle(cells[value]) == pytest.approx(value, rel=ACCURACY * (1 + 1e-9))
    assert (cells[0.0], cells[LEAST / 2]) == (0, 0)
    assert middle(cells[MOST * 2]) == pytest.approx(MOST, rel=2 * ACCURACY)
    assert len({cells[float(n)] for n in range(1, 51)}) == 50, "small counts have a cell each"


def test_rows_of_one_entity_are_one_sample(tmp_path: Path) -> None:
    origin = table_of(tmp_path / "t", [row(FIRST, 1.0, 0)] * 90 + [row(FIRST, 1.0, n) for n in range(1, 7)])
    profile = profiles_of(Settings(home=tmp_path / "home"), origin, [FIRST])[FIRST]["x", "value"]
    assert profile.rows == 96
    assert profile.samples == pytest.approx(96**2 / (90**2 + 6))


def test_of_many_texts_the_rarest_are_others_and_none_is_lost(tmp_path: Path) -> None:
    rows = [row(FIRST, 1.0, 0) | {"genre": f"g{n:04}"} for n in range(1_100)] + [row(FIRST, 1.0, 0)] * 5
    profile = profiles_of(Settings(home=tmp_path / "home"), table_of(tmp_path / "t", rows), [FIRST])[FIRST]
    own = profile["genre", "value"]
    assert (len(own.cells), own.cells["g0"], own.other, own.nulls) == (1_000, 5, 101, 0)


def test_a_day_is_read_once_until_its_files_are_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(home=tmp_path / "home")
    origin = table_of(tmp_path / "t", [row(FIRST, 1.0, 0), row(SECOND, None, 1)])
    before = profiles_of(settings, origin, [FIRST, SECOND])
    kept = DeltaTable(settings.lake / "checks" / "profiles")
    assert profiles_of(settings, origin, [FIRST, SECOND]) == before
    assert DeltaTable(settings.lake / "checks" / "profiles").version() == kept.version()
    table_of(tmp_path / "t", [row(SECOND, 2.0, 2)])
    after = profiles_of(settings, origin, [FIRST, SECOND])
    assert after[FIRST] == before[FIRST]
    assert (after[SECOND]["x", "value"].rows, after[SECOND]["x", "value"].nulls) == (2, 1)
    profiles = DeltaTable(settings.lake / "checks" / "profiles").to_pyarrow_table(columns=["dt"])
    assert profiles.num_rows == 2 * len(after[FIRST])
