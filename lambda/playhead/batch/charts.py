"""Charts: popularity, taste profiles and top lists. Views that the batch layer makes besides the declared ones.

They are made from the partials of two measures of the listener's declared daily group, `plays` and `listen_ms`, so what
counts as a play is said in `features/` only. Ties are broken by id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import ibis
import ibis.expr.types as ir

from playhead.days import END_MS, PartialTable, days_table, windows
from playhead.errors import DeclarationError
from playhead.plan import DailyPlan

MONTH = 30
WEEK = 7
TOP_ARTISTS = 5
TOP_TRACKS = 20
GLOBAL_TOP = 50
POOL = 1_000
EVERYBODY = ""
"""The entity of the global list."""

LENGTHS = (1, WEEK, MONTH)
LISTENING = "listening"
CATALOG = {"track_id": "string", "genre": "string"}


@dataclass(frozen=True, kw_only=True)
class Chart:
    """One view: its rows from the partials of listening and the catalog; `dt` and `end_ms` first, then the key."""

    name: str
    key: str
    rows: ir.Table


def listening(plans: Sequence[DailyPlan]) -> PartialTable:
    """Partials of plays and listening time per listener and track, artist and content type told apart.

    Raises:
        DeclarationError: no daily group of `user_id` has them.
    """
    for plan in plans:
        measures = {m.name: m for m in plan.measures}
        if plan.key == "user_id" and {"plays", "listen_ms"} <= measures.keys():
            own = (measures["plays"], measures["listen_ms"])
            return PartialTable(
                name=LISTENING,
                keys=("user_id", "track_id"),
                labels=("artist_id", "content_type"),
                measures=own,
                dimensions=plan.dimensions,
            )
    raise DeclarationError(
        "charts need a daily group of user_id with plays and listen_ms", hint="see features/listener.py"
    )


def charts(partials: PartialTable) -> tuple[Chart, ...]:
    """All charts.

    - `track_popularity`, `artist_popularity`: key, plays_1d, share_1d, rank_1d, plays_7d, share_7d, rank_7d. What was
      played within 7 days. A share is that of all plays; rank and share are null without plays.
    - `taste_profile`: user_id, listen_ms_30d, genres (array of genre and share of the listening time whose genre is
      known, largest first), top_artists (array, by listening time); an array is null when nothing is known. Listeners
      with listening time within 30 days.
    - `top_tracks`: entity (a user_id, or "" for everybody), tracks (array, by plays within 30 days, best first).
    - `pool`: entity (a content type), tracks (likewise): what there is to choose from, and of which type a track is.
    """
    rows = ibis.table(partials.columns, name=partials.name)
    return (
        Chart(name="track_popularity", key="track_id", rows=popularity(rows, "track_id")),
        Chart(name="artist_popularity", key="artist_id", rows=popularity(rows, "artist_id")),
        Chart(name="taste_profile", key="user_id", rows=taste_profile(rows, ibis.table(CATALOG, name="catalog"))),
        Chart(name="top_tracks", key="entity", rows=top_tracks(rows)),
        Chart(name="pool", key="entity", rows=pool(rows)),
    )


def popularity(partials: ir.Table, key: str) -> ir.Table:
    """Plays, their share and the rank by them, of the batch day and of the week that it ends."""
    keyed = partials.filter(partials[key].notnull())
    plays = windows(keyed, _days(), [key], [("plays_1d", "plays", 1), ("plays_7d", "plays", WEEK)])
    plays = plays.filter(plays.plays_7d > 0)
    columns: dict[str, ir.Value] = {}
    for label in ("1d", "7d"):
        own = plays[f"plays_{label}"]
        all_plays = own.sum().over(ibis.window(group_by="dt"))
        share, rank = own.cast("float64") / all_plays.cast("float64"), _rank(own, key, ("dt",))
        columns |= {
            f"plays_{label}": own,
            f"share_{label}": ibis.ifelse(own > 0, share, ibis.null("float64")),
            f"rank_{label}": ibis.ifelse(own > 0, rank, ibis.null("int64")),
        }
    return plays.select("dt", END_MS, key, **columns)


def taste_profile(partials: ir.Table, catalog: ir.Table) -> ir.Table:
    """What a listener spends time on: genres, as far as the catalog knows them, and artists."""
    heard = windows(partials, _days(), ["user_id", "track_id", "artist_id"], [("listen_ms", "listen_ms", MONTH)])
    heard = heard.filter(heard.listen_ms > 0)
    total = heard.group_by("dt", END_MS, "user_id").agg(listen_ms_30d=heard.listen_ms.sum())
    known = heard.join(catalog, "track_id").filter(ibis._.genre.notnull())
    genres = known.group_by("dt", "user_id", "genre").agg(listen_ms=known.listen_ms.sum())
    whole = genres.listen_ms.sum().over(ibis.window(group_by=["dt", "user_id"]))
    shares = genres.mutate(
        share=genres.listen_ms.cast("float64") / whole.cast("float64"),
        place=_rank(genres.listen_ms, "genre", ("dt", "user_id")),
    )
    by_genre = _collected(shares, ("dt", "user_id"), {"genre": shares.genre, "share": shares.share}, "genres")
    named = heard.filter(heard.artist_id.notnull())
    artists = named.group_by("dt", "user_id", "artist_id").agg(listen_ms=named.listen_ms.sum())
    ranked = artists.mutate(place=_rank(artists.listen_ms, "artist_id", ("dt", "user_id")))
    top = ranked.filter(ranked.place <= TOP_ARTISTS)
    by_artist = _collected(top, ("dt", "user_id"), {"artist_id": top.artist_id}, "top_artists")
    joined = total.left_join(by_genre, ["dt", "user_id"]).select(total, by_genre.genres)
    joined = joined.left_join(by_artist, ["dt", "user_id"]).select(joined, by_artist.top_artists)
    return joined.mutate(top_artists=joined.top_artists.map(lambda one: one.artist_id))


def top_tracks(partials: ir.Table) -> ir.Table:
    """Each listener's most played tracks and everybody's, of the month that the day ends."""
    own = windows(partials, _days(), ["user_id", "track_id"], [("plays", "plays", MONTH)])
    own = own.filter(own.plays > 0)
    shared = own.group_by("dt", END_MS, "track_id").agg(plays=own.plays.sum())
    by_user = _most_played(own.mutate(entity=own.user_id), TOP_TRACKS)
    return by_user.union(_most_played(shared.mutate(entity=ibis.literal(EVERYBODY)), GLOBAL_TOP))


def pool(partials: ir.Table) -> ir.Table:
    """The most played tracks of each content type, of the month that the day ends."""
    typed = partials.filter(partials.content_type.notnull())
    plays = windows(typed, _days(), ["content_type", "track_id"], [("plays", "plays", MONTH)])
    return _most_played(plays.filter(plays.plays > 0).mutate(entity=plays.content_type), POOL)


def _most_played(rows: ir.Table, length: int) -> ir.Table:
    """Each entity's tracks with the most plays, best first."""
    ranked = rows.mutate(place=_rank(rows.plays, "track_id", ("dt", "entity")))
    top = ranked.filter(ranked.place <= length)
    found = _collected(top, ("dt", END_MS, "entity"), {"track_id": top.track_id}, "tracks")
    return found.mutate(tracks=found.tracks.map(lambda one: one.track_id))


def _days() -> ir.Table:
    return days_table(LENGTHS)


def _rank(value: ir.IntegerValue, key: str, group: Sequence[str]) -> ir.IntegerValue:
    """1 for the largest; ties go to the smaller id."""
    window = ibis.window(group_by=list(group), order_by=[ibis.desc(value), key])
    return (ibis.row_number().over(window) + 1).cast("int64")


def _collected(ranked: ir.Table, group: Sequence[str], fields: Mapping[str, ir.Value], name: str) -> ir.Table:
    """An array of structs per group, in the order of `place`."""
    # Spark cannot order a collect, so the place goes in, sorts, and is dropped.
    structs = ibis.struct({"place": ranked.place, **fields}).collect().sort()
    collected = ranked.group_by(*group).agg(collected=structs)
    kept = collected.collected.map(lambda one: ibis.struct({n: one[n] for n in fields}))
    return collected.select(*group, **{name: kept})
