"""Tournaments: everybody meets everybody once, nobody plays twice at a time."""

from __future__ import annotations

import itertools

import pytest

from hpcad.launch.doctor.network.pairing import packed, partner, rounds_of, sample


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8, 9, 16, 17])
def test_all_pairs_meet_once_and_partners_agree(count):
    met = []
    for number in range(rounds_of(count)):
        partners = {player: partner(player, number, count) for player in range(count)}
        for player, other in partners.items():
            assert other is None or (other != player and partners[other] == player)
        met += [(a, b) for a, b in partners.items() if b is not None and a < b]
        assert sum(other is None for other in partners.values()) == count % 2
    assert sorted(met) == list(itertools.combinations(range(count), 2))


def test_a_sample_of_rounds_gives_every_node_as_many_different_partners():
    chosen = sample(4096, 15)
    assert len(set(chosen)) == 15
    assert max(chosen) > 3500  # from all over the machine
    for player in (0, 1, 2047, 4095):
        others = {partner(player, number, 4096) for number in chosen}
        assert len(others) == 15
        assert player not in others


@pytest.mark.parametrize(("count", "rounds"), [(1, 0), (2, 1), (5, 5), (16, 15), (17, 15)])
def test_few_nodes_play_all_rounds(count, rounds):
    assert len(sample(count, 15)) == rounds
    assert sample(count, None) == list(range(rounds_of(count)))


def test_pairs_are_packed_so_that_nobody_plays_twice_at_a_time():
    pairs = [(0, 1), (0, 2), (2, 3), (1, 2), (0, 4)]
    rounds = packed(pairs, 9)
    assert sorted(itertools.chain(*rounds)) == sorted(pairs)
    for players in rounds:
        flat = list(itertools.chain(*players))
        assert len(flat) == len(set(flat))
    assert rounds[0] == [(0, 1), (2, 3)]
    assert packed(pairs, 1) == [[(0, 1), (2, 3)]]
