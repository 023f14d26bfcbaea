"""Bodies of the feature server's requests and answers."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from playhead.serving.breaker import Reason
from playhead.serving.fallbacks import Source
from playhead.serving.packed import Value
from schemas.playback_pb2 import ContentType

MAX_CANDIDATES = 1_000

RowStatus: TypeAlias = Literal["present", "missing", "stale", "refused", "fallback"]

CONTENT_TYPES = tuple(name for name, number in ContentType.items() if number)


def _known(content_type: str) -> str:
    if content_type not in CONTENT_TYPES:
        raise ValueError(f"expected {' or '.join(CONTENT_TYPES)}")
    return content_type


ContentTypeName = Annotated[
    str, AfterValidator(_known), Field(json_schema_extra={"enum": [*CONTENT_TYPES]}, examples=["SONG"])
]
UserId = Annotated[str, Field(min_length=1, max_length=128, examples=["39"])]
EntityId = Annotated[str, Field(min_length=1, max_length=256)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Candidate(TypedDict):
    """A track that may be recommended. Without `artist_id` the artist's features are null."""

    # A dict: it is handed on as it is, a hundred times for a request.
    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]

    track_id: EntityId
    artist_id: NotRequired[EntityId | None]


class FeaturesRequest(_Body):
    """For whom and for which tracks a model wants features; without `candidates` the user's own.

    `service` is a name with its version (`listener_v1`), or a scenario (`listener`), whose newest version is served if
    `version` does not say another.
    """

    service: Annotated[str, Field(examples=["listener"])]
    version: Annotated[int, Field(ge=1, examples=[1])] | None = None
    user_id: UserId
    candidates: Annotated[
        list[Candidate],
        Field(max_length=MAX_CANDIDATES, examples=[[{"track_id": "track-00001", "artist_id": "artist-0001"}]]),
    ] = []
    request_id: Annotated[str, Field(min_length=1, max_length=128)] | None = None


class CandidateFeatures(BaseModel):
    """The candidates in columns, a place for each, in the order of the request: their `view__feature` values, and the
    event timestamps of each view that has a row of one of them, null for those of which it has none."""

    track_id: list[str]
    artist_id: list[str | None]
    features: Annotated[
        dict[str, list[Value]], Field(examples=[{"track__plays_1h": [5, 0], "track_item__genre": ["jazz", None]}])
    ]
    event_timestamps_ms: Annotated[dict[str, list[int | None]], Field(examples=[{"track": [1_700_000_001_000, None]}])]


class FeaturesResponse(BaseModel):
    """The user's `view__feature` values, the event timestamp of each view with a row, and the candidates' columns.

    `status` says of each view how many of the entities asked for had a row (`present`), none (`missing`: an empty
    window), a window that the batch layer is too far behind for (`stale`), a row of another declaration (`refused`), or
    were not read (`fallback`). `fallback` says why the store was not read: then every feature is the service's default,
    or null.
    """

    request_id: str
    service: Annotated[str, Field(examples=["listener_v1"])]
    serve_time_ms: Annotated[int, Field(examples=[1_700_000_123_456])]
    fallback: Reason | None
    status: Annotated[dict[str, dict[RowStatus, int]], Field(examples=[{"track": {"present": 99, "missing": 1}}])]
    user: Annotated[dict[str, Value], Field(examples=[{"listener__plays_1h": 12, "listener__skip_rate_1h": 0.25}])]
    event_timestamps_ms: Annotated[dict[str, int], Field(examples=[{"listener": 1_700_000_000_000}])]
    candidates: CandidateFeatures


class CandidatesRequest(_Body):
    """For whom tracks are wanted, and of which content type; of any when it does not say."""

    user_id: UserId
    content_type: ContentTypeName | None = None
    limit: Annotated[int, Field(ge=1, le=MAX_CANDIDATES)] = 100


class CandidatesResponse(BaseModel):
    """Tracks, best first, which `/v1/features` takes as `candidates`; and the list that they are from.

    `fallback` says why the store was not read: the lists are then those that the server read last.
    """

    source: Source
    fallback: Reason | None
    candidates: list[Candidate]


class Refusal(BaseModel):
    """What is wrong, and what to do about it."""

    error: Annotated[str, Field(examples=["UnknownName"])]
    message: Annotated[str, Field(examples=["unknown feature service 'listner_v1'; known: listener_v1"])]
    hint: Annotated[str | None, Field(examples=["did you mean 'listener_v1'?"])]
