"""Log-and-wait: what came of a served vector, as relations that each engine compiles.

A vector that was served for a track waits `WAIT`: what the user does in `[serve_time, serve_time + WAIT)` is its
outcome, and nothing else is. Its play is the user's first play of the track in that time; a play belongs to the
latest serve of the track to the user at or before it, so that one play is never counted for two vectors.

A session ends by a silence that is longer than its gap, and the wait is no longer than the gap. So no play of the wait
is behind the end of the session that holds the serve, or that begins after it: sessions need no rule of their own.
"""

from __future__ import annotations

from datetime import timedelta

import ibis
import ibis.expr.types as ir

from playhead.gathered import value_text
from playhead.relations import BATCH_ORDER, milliseconds
from schemas.tables import lake_ibis_schema

WAIT = timedelta(minutes=30)
WAIT_MS = milliseconds(WAIT)

POSITIVE_MS = 30_000
"""A play is positive when more of it was heard."""

SKIP_MS = {"skip_5s": 5_000, "skip_10s": 10_000}
"""Label to what a skip of it has heard less of. As in `features/`, a skip at exactly 5 s is no early one."""

LABELS = ("label_30s", *SKIP_MS)
"""What models are trained to tell."""

REQUEST = ("request_id", "user_id", "serve_time_ms")
"""What one request is."""

SERVE = (*REQUEST, "track_id", "kafka_partition", "kafka_offset")
"""What one served vector is."""

OUTCOMES = (
    "completed",
    "skipped",
    "stopped",
    "open",
    "served_again",
    "impression",
    "not_shown",
    "easy_negative",
)
"""
- `completed`, `skipped`, `stopped`: played, and how the play ended.
- `open`: played, without an end in the wait.
- `served_again`: played in the wait, but each of its plays belongs to a later serve. Nothing is said of this one.
- `impression`: not played: a hard negative.
- `not_shown`: not played; the client has told what the request showed, and the track was not among it.
- `easy_negative`: never served; drawn from the catalogue.
"""

_PLAYED = OUTCOMES[:4]
_ENDS = {"COMPLETE": "completed", "SKIP": "skipped", "STOP": "stopped"}
_HASH_DIGITS = 7
_NOTHING_PLAYED = {"play_time_ms": "int64", "ms_played": "int64", "content_type": "string", "completion": "float64"}


def served_table() -> ir.Table:
    """What the relations read of the served log: `SERVE`, the vectors of a track only."""
    types = dict.fromkeys(SERVE, "string") | {"serve_time_ms": "int64", "kafka_partition": "int32"}
    return ibis.table(types | {"kafka_offset": "int64"}, name="served")


def events_table() -> ir.Table:
    """The master data."""
    return ibis.table(lake_ibis_schema(), name="events")


def catalogue_table() -> ir.Table:
    """Tracks that easy negatives are drawn from, each once; `artist_id` may be null."""
    return ibis.table({"track_id": "string", "artist_id": "string"}, name="catalogue")


def outcomes_table() -> ir.Table:
    """Rows of `outcomes`, where they are read again."""
    return ibis.table(outcomes(served_table(), events_table()).schema(), name="outcomes")


def outcomes(served: ir.Table, events: ir.Table) -> ir.Table:
    """The outcome and the labels of each served vector.

    Args:
        served: as of `served_table`: besides the vectors of interest all that were served up to `WAIT` after them, for
            a play may be theirs.
        events: as of `events_table`, from the first serve to the end of the last wait; others do no harm.

    Returns:
        One row per vector: `SERVE`, then

        - `outcome`: one of `OUTCOMES`.
        - `play_time_ms`: when its play began, epoch milliseconds; null without one. So are the next three.
        - `ms_played`: how much was heard, as the play's end says. Of a play without an end in the wait it is the time
            until it is paused, until the user plays something, or until the wait is over; null where that is longer
            than the content: then an end was lost, and nothing is known.
        - `content_type`: of the play.
        - `completion`: ms_played / duration, at most 1; null without an end, and where the duration is not known.
        - `label_30s`: true: heard over 30 s. False: skipped within 5 s, not played, or never served. Null: neither.
        - `skip_5s`, `skip_10s`: whether the play was skipped before so much was heard; a pause or a stop is no skip.
            Null without a play, and where nobody knows.
        - `hard_negative`, `easy_negative`: never null.
        - `weight`: 1.0; see `easy_negatives`.
    """
    held = _held(served, events).left_join(_shown(served, events), list(SERVE), rname="shown_{name}")
    ended, until_ms, duration_ms = _listening(held)
    own = held.owned & held.play_time_ms.notnull()
    outcome = ibis.cases(
        *((own & ended & (held.end_type == kind), name) for kind, name in _ENDS.items()),
        (own, "open"),
        (held.play_time_ms.notnull(), "served_again"),
        (ibis.coalesce(held.others_only, False), "not_shown"),
        else_="impression",
    )
    heard_ms = ibis.ifelse(ended, held.end_played_ms, ibis.ifelse(until_ms > duration_ms, ibis.null("int64"), until_ms))
    # As the declared ratios: two integers are divided once.
    completion = ibis.least(held.end_played_ms, duration_ms) / duration_ms
    return with_labels(
        held.select(
            *SERVE,
            outcome=outcome,
            play_time_ms=ibis.ifelse(own, held.play_time_ms, ibis.null("int64")),
            ms_played=ibis.ifelse(own, heard_ms, ibis.null("int64")),
            content_type=ibis.ifelse(own, held.content_type, ibis.null("string")),
            completion=ibis.ifelse(own & ended, completion, ibis.null("float64")),
            # A literal 1.0 would be a decimal.
            weight=ibis.literal(1).cast("float64"),
        )
    )


def with_labels(rows: ir.Table) -> ir.Table:
    """Rows with what their outcome means."""
    played, ended = rows.outcome.isin(_PLAYED), rows.outcome.isin(list(_ENDS.values()))
    unknown = ibis.null("boolean")
    skips = {
        name: ibis.cases(
            (rows.outcome == "skipped", rows.ms_played < least_ms),
            (ended | (played & (rows.ms_played >= least_ms)), False),
            else_=unknown,
        )
        for name, least_ms in SKIP_MS.items()
    }
    hard, easy = rows.outcome == "impression", rows.outcome == "easy_negative"
    negative = hard | easy | ibis.coalesce(skips["skip_5s"], False)
    positive = ibis.coalesce(rows.ms_played > POSITIVE_MS, False)
    label = ibis.cases((positive, True), (negative, False), else_=unknown)
    named = {"label_30s": label, **skips, "hard_negative": hard, "easy_negative": easy, "weight": rows.weight}
    return rows.select(*(name for name in rows.columns if name not in named), **named)


def plays(events: ir.Table) -> ir.Table:
    """Each play, with what is known of it.

    Returns:
        One row per PLAY: user_id, track_id, its place in the order of events, content_type, duration_ms; its first end
        before the user plays the track again (`end_type`, `end_ms`, `end_played_ms`, `end_duration_ms`; null without
        one), its first pause, and the user's next play of anything.
    """
    rows = _by_play(events)
    is_play, first_end = rows.event_type == "PLAY", _is_end(rows) & (rows.ends == 1)
    # Of each play one event matches: the aggregate only takes it.
    found = rows.group_by("user_id", "track_id", "play").agg(
        play_time_ms=rows.event_time_ms.min(where=is_play),
        play_partition=rows.kafka_partition.min(where=is_play),
        play_offset=rows.kafka_offset.min(where=is_play),
        content_type=rows.content_type.min(where=is_play),
        duration_ms=rows.duration_ms.min(where=is_play),
        next_play_ms=rows.next_ms.min(where=is_play),
        pause_ms=rows.event_time_ms.min(where=rows.event_type == "PAUSE"),
        end_type=rows.event_type.min(where=first_end),
        end_ms=rows.event_time_ms.min(where=first_end),
        end_played_ms=rows.ms_played.min(where=first_end),
        end_duration_ms=rows.duration_ms.min(where=first_end),
    )
    return found.drop("play")


def easy_negatives(
    outcomes: ir.Table, events: ir.Table, catalogue: ir.Table, *, per_positive: int = 1, seed: int = 0
) -> ir.Table:
    """Random tracks for the requests with a positive: not served in them, not played by the user in their wait.

    Tracks stand in a circle, in the order of a hash of seed and track. A request begins at a place that the hash of
    seed and request says, and takes what is free from there on: the same requests and catalogue give the same tracks,
    and a request's cost does not grow with the catalogue.

    Args:
        outcomes: of whole requests.
        events: as of `outcomes`.
        catalogue: as of `catalogue_table`.
        per_positive: how many for each positive; as many as there are, where there are fewer.
        seed: another one gives other tracks.

    Returns:
        `REQUEST`, track_id, artist_id and the columns of labels. `weight` is how many tracks of the catalogue each one
        stands for: those that could have been drawn over those that were, so that the weights of a request add up to
        the former.
    """
    by_request = outcomes.group_by(*REQUEST).agg(positives=outcomes.count(where=outcomes.label_30s))
    requests = by_request.filter(by_request.positives > 0)
    taken = _taken(outcomes, events, requests)
    wanted = _wanted(requests, taken, catalogue, per_positive)
    # So long a piece of the circle has enough that are free, whichever are not.
    piece = wanted.mutate(step=ibis.range(0, wanted.drawn + wanted.taken).unnest())
    placed = piece.mutate(place=(_number(_hash(piece.request_id, seed)) + piece.step) % piece.size)
    order = [_hash(catalogue.track_id, seed), catalogue.track_id]
    circle = catalogue.mutate(place=ibis.row_number().over(ibis.window(order_by=order)))
    tracks = placed.join(circle, "place").anti_join(taken, [*REQUEST, "track_id"])
    nth = ibis.row_number().over(ibis.window(group_by=list(REQUEST), order_by="step"))
    ranked = tracks.mutate(nth=nth)
    kept = ranked.filter(ranked.nth < ranked.drawn)
    outcome = {"outcome": ibis.literal("easy_negative")} | {n: ibis.null(kind) for n, kind in _NOTHING_PLAYED.items()}
    return with_labels(kept.select(*REQUEST, "track_id", "artist_id", **outcome, weight=kept.free / kept.drawn))


def _by_play(events: ir.Table) -> ir.Table:
    """Events of plays, each with the number of the play that it belongs to among the user's of the track, how many ends
    that play has had by then, and, of a PLAY, when the user's next of anything is."""
    rows = events.filter(events.track_id.notnull() & events.event_type.isin(["PLAY", "PAUSE", *_ENDS]))
    order, own = list(BATCH_ORDER), ["user_id", "track_id"]
    is_play = rows.event_type == "PLAY"
    numbered = rows.mutate(
        play=is_play.cast("int64").sum().over(ibis.cumulative_window(group_by=own, order_by=order)),
        next_ms=rows.event_time_ms.lead().over(ibis.window(group_by=["user_id", is_play], order_by=order)),
    )
    so_far = ibis.cumulative_window(group_by=[*own, "play"], order_by=order)
    # What comes before the first PLAY belongs to one that is not read.
    return numbered.mutate(ends=_is_end(numbered).cast("int64").sum().over(so_far)).filter(ibis._.play > 0)


def _is_end(events: ir.Table) -> ir.BooleanValue:
    return events.event_type.isin(list(_ENDS))


def _held(served: ir.Table, events: ir.Table) -> ir.Table:
    """Each served vector with its play; with one of a later serve (`owned` is false), where it has none of its own."""
    found = plays(events)
    begun = [found.play_time_ms >= served.serve_time_ms, found.play_time_ms < served.serve_time_ms + WAIT_MS]
    pairs = served.left_join(found, ["user_id", "track_id", *begun], rname="play_{name}")
    play = ["play_time_ms", "play_partition", "play_offset"]
    latest = [ibis.desc(name) for name in ("serve_time_ms", "kafka_partition", "kafka_offset", "request_id")]
    by_play = ibis.window(group_by=["user_id", "track_id", *play], order_by=latest)
    owned = pairs.mutate(owned=ibis.row_number().over(by_play) == 0)
    first = ibis.window(group_by=list(SERVE), order_by=[ibis.desc(owned.owned.cast("int64")), *play])
    ranked = owned.mutate(nth=ibis.row_number().over(first))
    return ranked.filter(ranked.nth == 0)


def _shown(served: ir.Table, events: ir.Table) -> ir.Table:
    """The vectors of requests of which the client has told what was shown, and whether only others were."""
    told = events.filter((events.event_type == "IMPRESSION") & events.request_id.notnull())
    told = told.select("request_id", "user_id", shown_ms=told.event_time_ms, shown_track=told.track_id)
    inside = [told.shown_ms >= served.serve_time_ms, told.shown_ms < served.serve_time_ms + WAIT_MS]
    pairs = served.join(told, ["request_id", "user_id", *inside])
    hits = pairs.count(where=pairs.shown_track == pairs.track_id)
    return pairs.group_by(*SERVE).agg(others_only=hits == 0)


def _listening(held: ir.Table) -> tuple[ir.BooleanValue, ir.IntegerValue, ir.IntegerValue]:
    """Whether the play ended in the wait; how long it can have gone on in it without; the length of what is played."""
    over_ms = held.serve_time_ms + WAIT_MS
    ended = ibis.coalesce(held.end_ms < over_ms, False)
    stops = [ibis.coalesce(moment, over_ms) for moment in (held.pause_ms, held.next_play_ms)]
    told_ms = ibis.ifelse(ended, held.end_duration_ms, ibis.null("int64"))
    duration_ms = ibis.coalesce(told_ms, held.duration_ms).nullif(0)
    return ended, ibis.least(over_ms, *stops) - held.play_time_ms, duration_ms


def _taken(outcomes: ir.Table, events: ir.Table, requests: ir.Table) -> ir.Table:
    """Tracks that are no easy negatives of a request: `REQUEST`, track_id, each once."""
    shown = outcomes.semi_join(requests, list(REQUEST)).select(*REQUEST, "track_id")
    heard = events.filter((events.event_type == "PLAY") & events.track_id.notnull())
    heard = heard.select("user_id", "track_id", play_time_ms=heard.event_time_ms)
    inside = [heard.play_time_ms >= requests.serve_time_ms, heard.play_time_ms < requests.serve_time_ms + WAIT_MS]
    return shown.union(requests.join(heard, ["user_id", *inside]).select(*REQUEST, "track_id")).distinct()


def _wanted(requests: ir.Table, taken: ir.Table, catalogue: ir.Table, per_positive: int) -> ir.Table:
    """`REQUEST`, the `size` of the catalogue, how many of it are `taken` and `free`, and how many will be `drawn`."""
    known = taken.semi_join(catalogue, "track_id").group_by(*REQUEST).agg(taken=ibis._.count())
    counted = requests.left_join(known, list(REQUEST), rname="known_{name}")
    counted = counted.cross_join(catalogue.agg(size=catalogue.count()))
    own = ibis.coalesce(counted.taken, 0)
    free = counted.select(*REQUEST, "size", "positives", taken=own, free=counted.size - own)
    drawn = free.mutate(drawn=ibis.least(free.positives * per_positive, free.free))
    return drawn.filter(drawn.drawn > 0)


def _hash(text: ir.StringValue, seed: int) -> ir.StringValue:
    return value_text(ibis.literal(f"{seed}|").concat(text), "distinct")


def _number(digits: ir.StringValue) -> ir.IntegerValue:
    """A number below 2^28 of a text of hexadecimal digits; engines agree on no function for it."""
    values = [ibis.literal("0123456789abcdef").find(digits.substr(n, 1)).cast("int64") for n in range(_HASH_DIGITS)]
    total = values[0]
    for value in values[1:]:
        total = total * 16 + value
    return total
