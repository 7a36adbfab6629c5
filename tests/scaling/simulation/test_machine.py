"""Machine files: what is read, and what is refused with file and line."""

from __future__ import annotations

import pytest

from hpcad.errors import ConfigError
from hpcad.scaling.simulation.machine import Device, Sharing
from hpcad.scaling.simulation.machine_file import known_machines, load_machine

GOOD = """
title = "two nodes"
ranks_per_node = 4

[device]
flops = 1e12
memory_bandwidth = 1e11

[levels.node]
size = 4
latency = 1e-6
bandwidth = 1e10

[levels.network]
size = 2
latency = 1e-5
bandwidth = 1e9
"""


def written(tmp_path, text):
    path = tmp_path / "machine.toml"
    path.write_text(text)
    return str(path)


def test_a_machine_is_read(tmp_path):
    machine = load_machine(written(tmp_path, GOOD))
    assert machine.device == Device(1e12, 1e11)
    assert list(machine.levels) == ["node", "network"]
    assert machine.members(3) == [3, 1]
    assert machine.members(8) == [4, 2]
    assert [machine.nodes(ranks) for ranks in (1, 4, 5)] == [1, 1, 2]
    assert machine.origin == "from documents, not measured"


@pytest.mark.parametrize("name", known_machines())
def test_known_machines_say_where_their_numbers_come_from(name):
    machine = load_machine(name)
    assert machine.documentation
    assert not machine.measured
    assert machine.members(4096)[0] == machine.ranks_per_node


def test_there_are_known_machines():
    assert {"perlmutter", "frontier", "llama3-h100", "dgx1-v100"} <= set(known_machines())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("flops = 1e12", "flops = -1"), "machine.toml:6: .device. flops must be above 0"),
        (("flops = 1e12", "flop = 1"), "machine.toml:6.*no key 'flop'; did you mean 'flops'"),
        (("size = 4\n", ""), "levels.node. needs a size"),
        (("latency = 1e-5", 'latency = "1 us"'), "machine.toml:16: .*latency must be a number"),
        (("[device]\nflops = 1e12\nmemory_bandwidth = 1e11", ""), "lacks the key 'device'"),
        (("latency = 1e-5\n", ""), "lacks the key 'latency'"),
        (('title = "two nodes"', "title ="), "not valid TOML"),
        (("[levels.network]", "[[levels.network]]"), "needs sections .levels.NAME"),
        (
            ("[levels.node]", '[collectives]\nalgorithms = ["butterfly"]\n[levels.node]'),
            "must be one of 'ring', 'tree'",
        ),
        (
            ("[levels.node]", "[noise]\ntail_probability = 0.1\n[levels.node]"),
            "must both be 0, or both above 0",
        ),
        (
            ("[levels.node]", "[collectives]\nalgorithms = []\n[levels.node]"),
            "at least one of ring",
        ),
        (
            ("size = 4", "size = 4\nmeasured = [[2, 1e-6]]"),
            "measured must hold .members, seconds, bytes per second.",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path, change, message):
    with pytest.raises(ConfigError, match=message):
        load_machine(written(tmp_path, GOOD.replace(*change)))


def test_a_machine_that_nobody_knows():
    with pytest.raises(ConfigError, match="no machine 'perlmuter'; did you mean 'perlmutter'"):
        load_machine("perlmuter")
    with pytest.raises(ConfigError, match="there is no machine file nowhere"):
        load_machine("nowhere.toml")


def test_more_ranks_than_there_is_room_for(tmp_path):
    with pytest.raises(ConfigError, match="room for 8 ranks, not for 9"):
        load_machine(written(tmp_path, GOOD)).members(9)


def test_ranks_that_share_cores_take_turns():
    shared = Sharing(ranks=[1, 2], flops=[1.0, 0.9], memory_bandwidth=[1.0, 0.6])
    assert shared.factors(1) == (1.0, 1.0)
    assert shared.factors(2) == pytest.approx((0.9, 0.6))
    assert shared.factors(8) == pytest.approx((0.225, 0.15))


def test_sharing_is_within_a_node(tmp_path):
    text = f"{GOOD}\n[sharing]\nranks = [1, 4]\nflops = [1, 0.5]\nmemory_bandwidth = [1, 0.25]\n"
    machine = load_machine(written(tmp_path, text))
    assert machine.device_at(8) == machine.device_at(4)
    assert machine.device_at(4).flops == pytest.approx(0.5e12)
    with pytest.raises(ConfigError, match="ranks must increase"):
        load_machine(written(tmp_path, text.replace("ranks = [1, 4]", "ranks = [4, 1]")))
