"""The simulation against measurements: inputs, arithmetic, committed results."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import simulation_local
import simulation_local_worker
from launched import mpirun
from simulation_published import INPUTS, load_case, predict, resolved, variants

from hpcad.scaling.simulation.machine import Device
from hpcad.scaling.simulation.simulate import simulate
from hpcad.scaling.study.orders import Orders
from hpcad.scaling.study.point import Point
from hpcad.training.job import load_job

RESULTS = INPUTS.parent / "results" / "2026-11-26-simulation-published.json"
CASES = sorted(path.stem for path in INPUTS.glob("*.toml"))


def case(name):
    return load_case(INPUTS / f"{name}.toml")


def test_there_are_more_than_four_results_and_each_says_where_it_stands():
    found = [case(name) for name in CASES]
    assert len({each.published.source for each in found}) >= 4
    assert all(each.published.source and each.title for each in found)


@pytest.mark.parametrize(
    ("name", "parameters", "gigaflops"),
    [
        ("ddp_resnet50_v100", 25_557_032, 8.18),
        ("ddp_resnet101_v100", 44_549_160, 15.6),
        ("horovod_vgg16_512", 138_357_544, 30.9),
        ("horovod_inception3_512", 23_834_568, 11.4),
        ("torchtitan_llama_128", 8_030_261_248, 140_549),
    ],
)
def test_models_have_the_parameters_and_operations_that_are_known(name, parameters, gigaflops):
    load = case(name).workload
    assert load.parameters == parameters
    assert load.forward.flops[:, 1].sum() / 1e9 == pytest.approx(gigaflops, rel=0.01)


@pytest.mark.parametrize("name", ["horovod_vgg16_512", "ddp_resnet50_v100", "goyal_resnet50_256"])
def test_the_committed_table_is_what_is_predicted_now(name):
    rows = {row["name"]: row for row in json.loads(RESULTS.read_text())["rows"]}
    assert sorted(rows) == CASES
    assert rows[name]["predicted"] == pytest.approx(predict(case(name))[0], rel=1e-9)


def test_vgg16_by_hand():
    """Three layers hold nine tenths of the gradients, ready at once."""
    found = predict(case("horovod_vgg16_512"))[1]
    sent = 2 * 511 / 512 * 4 * 138_357_544 / 2.5e9
    step = 64 / 154
    assert found.compute == pytest.approx(step, rel=1e-3)
    # Forward pass, then reductions without a pause: latencies and the noise come on top.
    assert step / 3 + sent < found.step < 1.1 * (step / 3 + sent)


def test_a_step_that_nobody_has_published_follows_from_what_is_known():
    known = case("chainermn_cpu_overlap")
    blocking = replace(resolved(known), reduction="blocking")
    assert simulate(blocking, known.machine, [16])[0].efficiency == pytest.approx(0.6672, abs=1e-4)
    known = case("torchtitan_llama_128")
    assert simulate(resolved(known), known.machine, [8])[0].step == pytest.approx(2.843, rel=1e-4)


def test_one_input_is_changed_at_a_time():
    base = case("horovod_vgg16_512")
    found = variants(base, 0.75)
    assert "bandwidth of the network" in found
    assert found["bandwidth of the network"].machine.levels["network"].bandwidth == 0.75 * 2.5e9
    assert found["bandwidth of the network"].workload == base.workload
    assert predict(found["bandwidth of the network"])[0] < predict(base)[0]
    assert found["step of one device"].machine == base.machine


# -- against local measurements --------------------------------------------------------------------


def micro(ranks, flops, memory, seconds):
    sizes = [1000, 10_000, 100_000]
    times = [seconds + n / 1e9 for n in sizes] if ranks > 1 else []
    return {
        "ranks": ranks, "flops": flops, "memory_bandwidth": memory,
        "length": 1e-2, "computing": 1e-2 * 2e10 / flops,
        "bytes": sizes if ranks > 1 else [], "seconds": times,
    }  # fmt: skip


def test_a_machine_is_what_was_measured():
    found = [micro(1, 2e10, 1e10, 0), micro(2, 1.8e10, 6e9, 1e-5), micro(4, 9e9, 3e9, 4e-5)]
    machine = simulation_local.machine_of(found, cores=4)
    assert machine.device == Device(2e10, 1e10)
    at_four = machine.device_at(4)
    assert (at_four.flops, at_four.memory_bandwidth) == pytest.approx((9e9, 3e9))
    assert machine.levels["node"].measured[1] == pytest.approx([4, 4e-5, 1e9], rel=1e-6)
    found[2]["computing"] *= 2  # the slowest rank, and not the mean, is waited for
    at_four = simulation_local.machine_of(found, cores=4).device_at(4)
    assert (at_four.flops, at_four.memory_bandwidth) == pytest.approx((4.5e9, 1.5e9))
    # Two ranks on one core have half of it each, whatever a disturbed measurement says.
    assert simulation_local.machine_of(found, cores=1).device_at(2).flops == 1e10
    assert (machine.measured, machine.collectives.steals) == (True, 1.0)


def test_a_point_is_what_is_left_of_the_device_and_one_message():
    found = [micro(1, 2e10, 1e10, 0), micro(4, 5e9, 2.5e9, 1e-3)]
    machine = simulation_local.machine_of(found, cores=4)
    configs = {kind: entry.config for kind, entry in simulation_local.REGISTRY.items()}
    job = load_job(INPUTS.parents[1] / "jobs" / "digits.toml", models=configs)
    point = simulation_local.predicted(job, machine, Point("strong", 4, 128), {32: 0.01})
    assert point.compute == pytest.approx(4 * 0.01)
    assert point.messages == 1
    assert point.exposed == pytest.approx(1e-3 + 4 * 13_706 / 1e9, rel=0.01)
    assert point.step == pytest.approx(point.compute + point.exposed)


def test_points_of_one_rank_are_not_counted(capsys):
    keys = ("measured", "predicted", "spread", "compute", "exposed")
    rows = [
        {"sweep": "weak", "ranks": ranks, "batch": 8, "error": error, **dict.fromkeys(keys, 1e-3)}
        for ranks, error in ((1, 9.0), (2, -0.04), (4, 0.06), (8, 0.5))
    ]
    assert simulation_local.median_error(rows) == pytest.approx(0.06)
    simulation_local.report(rows)
    out = capsys.readouterr().out
    assert "median error 6.0 % of 3 points with 2 ranks or more" in out
    assert out.count("not counted") == 1


@pytest.mark.parametrize(
    ("point", "counted"),
    [
        (Point("weak", 2, 8), True),
        (Point("strong", 2, 8), True),
        (Point("batch", 2, 8), False),
        (Point("strong", 2, 8, control="communication off"), False),
    ],
)
def test_what_is_compared(point, counted):
    from types import SimpleNamespace

    assert simulation_local.is_counted(SimpleNamespace(point=point)) is counted


def test_what_is_measured_anew_is_started_as_the_study_was(tmp_path):
    (tmp_path / "orders").mkdir()
    given = Orders(Point("weak", 2, 8), 0, 20, 5, 1, True, None, {}, "x.h5", True, {})
    given.write(tmp_path / "orders" / "weak-p2-b8-r0.json")
    replace(given, pin=False).write(tmp_path / "orders" / "reference-weak-p1-b8-r0.json")
    assert simulation_local.orders_of(tmp_path) == given


def test_rates_are_what_was_done_in_the_time(monkeypatch):
    now = itertools.count(0.0, 0.01)  # every look at the clock takes 10 ms
    monkeypatch.setattr(simulation_local_worker.time, "perf_counter", lambda: next(now))
    calls = []

    class Alone:
        size = 1

        class communicator:  # noqa: N801
            barrier = staticmethod(lambda: None)
            allreduce = staticmethod(lambda array, op: None)

    rate = simulation_local_worker._mean(Alone, (lambda: calls.append(0), 3.0))
    assert len(calls) == 1 + 49  # the first one warms up, and after 0.5 s nothing is begun
    assert rate == pytest.approx(49 * 3.0 / 0.5)


@pytest.mark.alone
def test_reductions_are_measured_on_ranks(tmp_path):
    out = tmp_path / "found.json"
    program = Path(simulation_local_worker.__file__)
    done = mpirun(2, [program, "--bytes", "5000", "--out", out, "--pin"])
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    assert [nbytes for nbytes, _ in found["reductions"]] == [1024, 5056]
    assert found["ranks"] == 2
    assert np.min([seconds for _, seconds in found["reductions"]]) > 0
    assert min(found["flops"], found["memory_bandwidth"]) > 1e6
