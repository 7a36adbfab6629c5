"""Bucket sizes from a latency-bandwidth fit, and the numbers of overlap."""

from __future__ import annotations

import numpy as np
import pytest

from hpcad.errors import ConfigError
from hpcad.parallel import SerialCommunicator
from hpcad.parallel.gradients.buckets import MB, choose_sizes
from hpcad.parallel.gradients.fit import SIZES, Fit, fit_line
from hpcad.parallel.gradients.overlap import Overlap, OverlapBook
from hpcad.parallel.gradients.progress import choose


@pytest.mark.parametrize(("alpha", "beta"), [(1e-6, 1e-10), (5e-5, 8e-9), (3e-3, 1e-8)])
def test_a_line_is_found_again(alpha, beta):
    fit = fit_line(list(SIZES), [alpha + beta * n for n in SIZES])
    np.testing.assert_allclose([fit.alpha, fit.beta], [alpha, beta], rtol=1e-6)


def test_noise_of_a_tenth_moves_both_by_less_than_a_third():
    noise = 1 + 0.1 * np.random.default_rng(0).standard_normal((200, len(SIZES)))
    for row in noise:
        fit = fit_line(
            list(SIZES), [(5e-5 + 8e-9 * n) * x for n, x in zip(SIZES, row, strict=True)]
        )
        assert fit.alpha == pytest.approx(5e-5, rel=1)
        assert fit.beta == pytest.approx(8e-9, rel=1 / 3)


@pytest.mark.parametrize(
    "seconds", [[1e-3, 1e-4], [1e-4, 1e-4], [1e-6, 5e-4]], ids=["falling", "flat", "steep"]
)
def test_absurd_times_give_a_fit_that_can_be_used(seconds):
    fit = fit_line([1 << 13, 1 << 16], seconds)
    assert fit.alpha > 0
    assert fit.beta > 0


def test_latency_is_its_share_of_the_message_that_was_asked_for():
    fit = Fit(5e-5, 8e-9)
    nbytes = fit.bytes_at(0.05)
    assert fit.alpha / fit.seconds(nbytes) == pytest.approx(0.05)


def test_buckets_are_long_enough_for_latency_to_be_5_percent_within_a_factor():
    for alpha, beta in [(1e-4, 1e-9), (5e-5, 8e-9), (1e-5, 1e-10)]:
        sizes = choose_sizes(None, None, 10**9, Fit(alpha, beta))
        share = alpha / Fit(alpha, beta).seconds(sizes.others)
        assert 0.05 / 1.5 < share < 0.05 * 1.5 or sizes.others == MB // 4
        assert sizes.first * 8 == sizes.others


def test_sizes_stay_between_a_quarter_and_32_megabytes_and_are_powers_of_two():
    for exponent in np.linspace(-12, 0, 30):
        for total in (10, 10**7, 10**10):
            sizes = choose_sizes(None, None, total, Fit(10.0**exponent, 1e-9))
            assert MB // 4 <= sizes.others <= 32 * MB
            assert np.log2(sizes.others / MB) % 1 == 0


def test_a_small_model_still_has_several_buckets():
    assert choose_sizes(None, None, 12 * MB, Fit(1e-1, 1e-9)).others <= 2 * MB


def test_sizes_that_were_asked_for_are_taken():
    sizes = choose_sizes(3.0, 0.2, 10**9, Fit(1e-4, 1e-9))
    assert (sizes.others, sizes.first) == (3 * MB, MB // 5)
    assert choose_sizes(4.0, None, 10**9, None).first == MB // 2
    assert choose_sizes(None, 0.2, 10**9, Fit(1e-4, 1e-9)).first == MB // 5


def test_what_is_hidden_is_what_is_not_exposed():
    overlap = Overlap(alone=0.1, exposed=0.025, waited=0.02, steps=3)
    assert overlap.hidden == pytest.approx(0.075)
    assert overlap.share == pytest.approx(0.75)
    for part in (
        "100.00 ms alone",
        "75.00 ms hidden",
        "(75 %)",
        "25.00 ms exposed",
        "20.00 ms wait",
    ):
        assert part in str(overlap)


def test_nothing_is_hidden_where_the_steps_wait_longer_than_the_reductions_take():
    assert Overlap(alone=0.1, exposed=0.3, waited=0.3, steps=3).share == 0


def test_the_book_tells_the_median_step():
    book = OverlapBook(alone=0.1)
    assert book.summary(SerialCommunicator()) is None
    for calls, waited in [(0.01, 0.02), (0.02, 0.03), (0.0, 5.0)]:  # one step was disturbed
        book.step(calls, waited)
    overlap = book.summary(SerialCommunicator())
    assert overlap == Overlap(0.1, pytest.approx(0.05), pytest.approx(0.03), 3)


def test_the_book_keeps_the_last_steps_of_a_long_run():
    book = OverlapBook(alone=1.0)
    for i in range(5000):
        book.step(0.0, 1.0 if i < 3000 else 0.5)
    assert book.summary(SerialCommunicator()).exposed == pytest.approx(0.5)


def test_wrong_wishes_are_told():
    with pytest.raises(ConfigError, match="progress is one of auto, poll, thread, not 'spin'"):
        choose(SerialCommunicator(), "none", (), "spin")
    with pytest.raises(ConfigError, match="there is one rank; leave progress at 'auto'"):
        choose(SerialCommunicator(), "none", (), "thread")
