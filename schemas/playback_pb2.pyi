from schemas import playhead_options_pb2 as _playhead_options_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EventType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EVENT_TYPE_UNSPECIFIED: _ClassVar[EventType]
    PLAY: _ClassVar[EventType]
    PAUSE: _ClassVar[EventType]
    RESUME: _ClassVar[EventType]
    SKIP: _ClassVar[EventType]
    COMPLETE: _ClassVar[EventType]
    STOP: _ClassVar[EventType]
    SEEK: _ClassVar[EventType]
    LIKE: _ClassVar[EventType]
    SEARCH: _ClassVar[EventType]
    IMPRESSION: _ClassVar[EventType]

class ContentType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CONTENT_TYPE_UNSPECIFIED: _ClassVar[ContentType]
    SONG: _ClassVar[ContentType]
    VIDEO: _ClassVar[ContentType]
    LIVE: _ClassVar[ContentType]
    PODCAST_EPISODE: _ClassVar[ContentType]
    AUDIOBOOK_CHAPTER: _ClassVar[ContentType]
EVENT_TYPE_UNSPECIFIED: EventType
PLAY: EventType
PAUSE: EventType
RESUME: EventType
SKIP: EventType
COMPLETE: EventType
STOP: EventType
SEEK: EventType
LIKE: EventType
SEARCH: EventType
IMPRESSION: EventType
CONTENT_TYPE_UNSPECIFIED: ContentType
SONG: ContentType
VIDEO: ContentType
LIVE: ContentType
PODCAST_EPISODE: ContentType
AUDIOBOOK_CHAPTER: ContentType

class PlaybackEvent(_message.Message):
    __slots__ = ("event_id", "user_id", "track_id", "artist_id", "event_type", "event_time_ms", "position_ms", "ms_played", "duration_ms", "content_type", "context", "request_id", "device", "country", "client_version")
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    TRACK_ID_FIELD_NUMBER: _ClassVar[int]
    ARTIST_ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    POSITION_MS_FIELD_NUMBER: _ClassVar[int]
    MS_PLAYED_FIELD_NUMBER: _ClassVar[int]
    DURATION_MS_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    COUNTRY_FIELD_NUMBER: _ClassVar[int]
    CLIENT_VERSION_FIELD_NUMBER: _ClassVar[int]
    event_id: str
    user_id: str
    track_id: str
    artist_id: str
    event_type: EventType
    event_time_ms: int
    position_ms: int
    ms_played: int
    duration_ms: int
    content_type: ContentType
    context: str
    request_id: str
    device: str
    country: str
    client_version: str
    def __init__(self, event_id: _Optional[str] = ..., user_id: _Optional[str] = ..., track_id: _Optional[str] = ..., artist_id: _Optional[str] = ..., event_type: _Optional[_Union[EventType, str]] = ..., event_time_ms: _Optional[int] = ..., position_ms: _Optional[int] = ..., ms_played: _Optional[int] = ..., duration_ms: _Optional[int] = ..., content_type: _Optional[_Union[ContentType, str]] = ..., context: _Optional[str] = ..., request_id: _Optional[str] = ..., device: _Optional[str] = ..., country: _Optional[str] = ..., client_version: _Optional[str] = ...) -> None: ...
