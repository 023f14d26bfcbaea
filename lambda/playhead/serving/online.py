"""The online store: packed rows in any server that speaks the Redis protocol.

Key `playhead:<group>:<entity>`, value one packed row. The newest event timestamp wins, whatever the order of writes; a
row with the same timestamp replaces, so that a corrected re-run lands. The rule runs inside the server, in one step
with the write, so that concurrent writers keep it.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain, islice
from types import MappingProxyType
from typing import Any

import ibis.expr.datatypes as dt
import orjson
from redis import Redis
from redis.cluster import RedisCluster
from redis.exceptions import NoScriptError, RedisError

from playhead.config import RedisSettings
from playhead.errors import StackError
from playhead.serving.packed import HEADER, PackedRow, Packer, Refused

_NEWER_WINS = """
local written = 0
for i, key in ipairs(KEYS) do
  local stored = redis.call('GETRANGE', key, 16, 23)
  if #stored < 8 or struct.unpack('<i8', ARGV[i], 17) >= struct.unpack('<i8', stored) then
    local seconds = tonumber(ARGV[#KEYS + i])
    if seconds > 0 then
      redis.call('SET', key, ARGV[i], 'EX', seconds)
    else
      redis.call('SET', key, ARGV[i])
    end
    written = written + 1
  end
end
return written
"""

_NEWER_WINS_SHA = hashlib.sha1(_NEWER_WINS.encode(), usedforsecurity=False).hexdigest()
"""By which Redis knows a script."""

_Row = tuple[bytes, bytes, int]
"""Key, packed row, seconds after which it is forgotten; 0: never."""

KEPT_EMPTY = timedelta(days=3)
"""How long a row is kept that says what no row says: so long it still keeps older ones out."""

_PREFIX = b"playhead:"
_ROWS_PER_CALL = 256
_CALLS_PER_ROUND_TRIP = 16
_KEYS_PER_SCAN = 5_000
_TIMEOUT_SECONDS = 10.0
_CONNECT_SECONDS = 5.0


@dataclass(frozen=True)
class Written:
    """Rows that were written, and rows that were ignored because a newer one was there."""

    written: int
    ignored: int


@dataclass(frozen=True)
class Held:
    """What the store holds of a group: about so many rows, and the memory of each, with its key and Redis's own."""

    rows: int
    bytes_per_row: int


@dataclass(frozen=True)
class Keep:
    """How long the store keeps rows after their last write.

    Attributes:
        longest: None is for ever.
        empty: the values of a packed row that say what no row says, as of `playhead.serving.packed.Packer.values_of`;
            such a row is kept only as long as an older one may still arrive. None: there is no such row.
    """

    longest: timedelta | None = None
    empty: bytes | None = None

    def seconds(self, row: bytes) -> int:
        """Of a packed row; 0 is for ever."""
        if self.empty is not None and row[HEADER.size :] == self.empty:
            return round(KEPT_EMPTY.total_seconds())
        return 0 if self.longest is None else round(self.longest.total_seconds())


_FOR_EVER = Keep()


def key_of(group: str, entity: str) -> bytes:
    """The key of a row.

    >>> key_of("listener", "u1")
    b'playhead:listener:u1'
    """
    return f"playhead:{group}:{entity}".encode()


def keys_of(group: str, entities: Sequence[str], day: str = "") -> list[bytes]:
    """The keys of many rows; of those of a day, with what `day_key` puts behind an entity.

    >>> keys_of("listener", ["u1", "u2"]), keys_of("listener__today", ["u1"], "|86400000")
    ([b'playhead:listener:u1', b'playhead:listener:u2'], [b'playhead:listener__today:u1|86400000'])
    >>> keys_of("listener", ["a\\0b"]), keys_of("listener", [])
    ([b'playhead:listener:a\\x00b'], [])
    """
    head = f"playhead:{group}:"
    between = f"{day}\0{head}"
    # All at once, at a third of the cost, unless an entity has a zero byte of its own.
    keys = f"{head}{between.join(entities)}{day}".encode().split(b"\0")
    return keys if len(keys) == len(entities) else [f"{head}{entity}{day}".encode() for entity in entities]


class OnlineStore:
    """Reads and writes packed rows. Safe to share between threads.

    Args:
        client: a `redis.Redis`, or a `redis.cluster.RedisCluster`.
        address: where it connects to, for errors.

    Every method raises StackError when the server does not answer or refuses.
    """

    def __init__(self, client: Any, address: str) -> None:
        self._client = client
        self._address = address
        # Of a cluster, each call of the script may have keys of one slot only.
        self._slot_of: Callable[[bytes], int] | None = client.keyslot if isinstance(client, RedisCluster) else None

    def write(self, group: str, rows: Iterable[tuple[str, bytes]], *, keep: timedelta | None = None) -> Written:
        """Write rows of one group: (entity, packed row); kept so long after their last write, for ever when None."""
        return self.write_many(((group, entity, row) for entity, row in rows), keep={group: Keep(keep)})

    def write_many(
        self, rows: Iterable[tuple[str, str, bytes]], *, keep: Mapping[str, Keep] = MappingProxyType({})
    ) -> Written:
        """Write rows of several groups: (group, entity, packed row).

        Args:
            rows: what to write.
            keep: group to how long its rows are kept; those of others for ever.
        """
        total = written = 0
        stream = iter(rows)
        while batch := list(islice(stream, _ROWS_PER_CALL * _CALLS_PER_ROUND_TRIP)):
            total += len(batch)
            rows_of = [
                (key_of(group, entity), row, keep.get(group, _FOR_EVER).seconds(row)) for group, entity, row in batch
            ]
            with self._answering():
                written += self._run(self._calls(rows_of))
        return Written(written, total - written)

    def _calls(self, rows: Sequence[_Row]) -> Iterator[Sequence[_Row]]:
        """The rows of each call of the script."""
        if self._slot_of is None:
            yield from (rows[start : start + _ROWS_PER_CALL] for start in range(0, len(rows), _ROWS_PER_CALL))
            return
        slots: dict[int, list[_Row]] = {}
        for row in rows:
            slots.setdefault(self._slot_of(row[0]), []).append(row)
        yield from slots.values()

    def _run(self, calls: Iterable[Sequence[_Row]]) -> int:
        """Call the script; returns how many rows were written."""
        commands = [
            ("EVALSHA", _NEWER_WINS_SHA, len(rows), *(r[0] for r in rows), *(r[1] for r in rows), *(r[2] for r in rows))
            for rows in calls
        ]
        try:
            return self._pipelined(commands)
        except NoScriptError:
            self._client.script_load(_NEWER_WINS)
            return self._pipelined(commands)

    def _pipelined(self, commands: Sequence[tuple[Any, ...]]) -> int:
        with self._client.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)
            return sum(pipeline.execute())

    def read(self, packer: Packer, entities: Sequence[str]) -> list[PackedRow | Refused | None]:
        """The rows of one group, in the order of `entities`; None where there is none."""
        rows = self.get([key_of(packer.name, entity) for entity in entities])
        return [None if row is None else packer.unpack(row) for row in rows]

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """What is under keys as of `key_of`, in one round trip, in their order; None where there is nothing.

        Of one server they are of one moment, of a cluster they are not.
        """
        if not keys:
            return []
        with self._answering():
            read = self._client.mget if self._slot_of is None else self._client.mget_nonatomic
            found: list[bytes | None] = read(keys)
        return found

    def get_each(self, parts: Sequence[Sequence[bytes]]) -> Generator[list[bytes | None], None, None]:
        """`get` of several parts in one round trip: the first can be looked at while the server is at the others.

        A part is of one moment, all of them are not.
        """
        if not isinstance(self._client, Redis):
            found = iter(self.get([*chain.from_iterable(parts)]))
            yield from ([*islice(found, len(keys))] for keys in parts)
            return
        with self._answering():
            pool = self._client.connection_pool
            connection = pool.get_connection()
            try:
                # In two: what is sent together the server answers together.
                commands = [("MGET", *keys) for keys in parts if keys]
                half = len(commands) // 2
                for number, some in enumerate((commands[:half], commands[half:])):
                    # A check of the connection would take the first answer for its own.
                    packed = [b"".join(connection.pack_commands(some))]
                    connection.send_packed_command(packed, check_health=number == 0)
                for keys in parts:
                    yield connection.read_response() if keys else []
            except BaseException:
                # An answer that was not read would be the next one's.
                connection.disconnect()
                raise
            finally:
                pool.release(connection)

    def count(self, group: str) -> int:
        """How many entities of a group have a row."""
        # A scan may give a key twice while the server resizes its table.
        return len(set(self._scan(group)))

    def held(self, sample: int = 2_000) -> dict[str, Held]:
        """What the store holds of each group, told from so many random rows of each node."""
        sizes: dict[str, list[tuple[float, int]]] = {}
        with self._answering():
            nodes = [n.redis_connection for n in self._client.get_primaries()] if self._slot_of else [self._client]
            for node in nodes:
                drawn = self._each(node, [("RANDOMKEY",)] * sample)
                keys = [key for key in drawn if key is not None and key.startswith(_PREFIX)]
                share = node.dbsize() / max(1, len(drawn))
                used = self._each(node, [("MEMORY USAGE", key) for key in keys])
                for key, size in zip(keys, used, strict=True):
                    if size is not None:  # forgotten meanwhile
                        sizes.setdefault(key.split(b":", 2)[1].decode(), []).append((share, size))
        return {
            group: Held(round(sum(share for share, _ in own)), round(sum(size for _, size in own) / len(own)))
            for group, own in sorted(sizes.items())
        }

    @staticmethod
    def _each(node: Any, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        with node.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)
            found: list[Any] = pipeline.execute()
        return found

    def delete(self, group: str) -> int:
        """Delete every row of a group; return how many there were."""
        keys, deleted = self._scan(group), 0
        while batch := list(islice(keys, _KEYS_PER_SCAN)):
            with self._answering():
                deleted += self._client.unlink(*batch)
        return deleted

    def write_lists(self, name: str, event_timestamp_ms: int, lists: Mapping[str, Sequence[Any]]) -> Written:
        """Write ranked lists, by the rule of rows: the newest wins.

        Args:
            name: what is ranked, e.g. `top_tracks`.
            event_timestamp_ms: the moment that the lists are of.
            lists: entity to its items, best first, anything that JSON can say; the entity `""` is everybody.
        """
        packer = _list_packer(name)
        rows = ((entity, {"items": orjson.dumps(list(items)).decode()}) for entity, items in lists.items())
        return self.write(packer.name, ((entity, packer.pack(event_timestamp_ms, row)) for entity, row in rows))

    def read_list(self, name: str, entity: str = "") -> list[Any] | None:
        """A ranked list of an entity (everybody's by default), best first; None when there is none."""
        (row,) = self.read(_list_packer(name), [entity])
        if not isinstance(row, PackedRow):
            return None
        items: list[Any] = orjson.loads(str(row.values["items"]))
        return items

    def ping(self) -> None:
        """Return when the server answers."""
        with self._answering():
            self._client.ping()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _scan(self, group: str) -> Iterator[bytes]:
        literal = "".join(f"\\{c}" if c in "*?[]\\" else c for c in group)
        keys = self._client.scan_iter(match=key_of(literal, "*"), count=_KEYS_PER_SCAN)
        while True:
            with self._answering():
                key = next(keys, None)
            if key is None:
                return
            yield key

    def _answering(self) -> contextlib.AbstractContextManager[None]:
        return _explained(self._address)


def connect(
    settings: RedisSettings, timeout_s: float = _TIMEOUT_SECONDS, connect_timeout_s: float = _CONNECT_SECONDS
) -> OnlineStore:
    """A store whose connections are opened when they are first used, and closed with the process.

    Raises:
        StackError: a cluster of which no node answers; its connections are opened here.
    """
    timeouts = {"socket_timeout": timeout_s, "socket_connect_timeout": connect_timeout_s}
    address = f"{settings.host}:{settings.port}"
    with _explained(address):
        kind = RedisCluster if settings.cluster else Redis
        return OnlineStore(kind(**settings.client(), **timeouts), address)


@contextlib.contextmanager
def open_online_store(settings: RedisSettings) -> Iterator[OnlineStore]:
    """The online store at an address; its connections are closed at the end.

    Raises:
        StackError: nothing answers there, or it refuses the credentials.
    """
    store = connect(settings)
    try:
        store.ping()
        yield store
    finally:
        store.close()


@contextlib.contextmanager
def _explained(address: str) -> Iterator[None]:
    try:
        yield
    except (RedisError, OSError) as error:
        raise StackError(
            f"Redis at {address}: {error}",
            hint="`playhead up` starts a local one; redis.host and redis.port say where it is",
        ) from error


def _list_packer(name: str) -> Packer:
    # A dot keeps lists apart from groups, whose names have none.
    return Packer(f"list.{name}", [("items", dt.string)], "0" * 16)
