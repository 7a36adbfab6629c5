"""Between two hosts, sums in half precision send half of the bytes, in less time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from two_hosts import two_hosts

HERE = Path(__file__).parent
SECONDS = 60
COUNT, SUMS = 2_000_000, 3  # 8 MB of float32, 64 ms at 1 Gbit/s

pytestmark = [pytest.mark.alone, pytest.mark.slow, pytest.mark.timeout(SECONDS + 30)]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hosts")
    with two_hosts("1gbit", folder, SECONDS) as hosts:
        words = [HERE / "half_worker.py", COUNT, SUMS]
        done = hosts.mpirun(words, timeout=SECONDS - 10, cwd=HERE)
    assert done.returncode == 0, done.stdout + done.stderr
    answer = json.loads(done.stdout)
    print(answer)  # pytest -s shows it
    return answer


@pytest.mark.parametrize("name", ["bfloat16", "float16"])
def test_the_network_device_sends_what_the_reducer_counts(found, name):
    assert found[name]["counted"] == 2 * COUNT + (4 if name == "float16" else 0)
    # Headers and acknowledgements are added.
    assert 1.0 < found[name]["device"] / found[name]["counted"] < 1.1


@pytest.mark.parametrize("name", ["bfloat16", "float16"])
def test_half_of_the_bytes_are_sent(found, name):
    assert 0.45 < found[name]["device"] / found["exact"]["device"] < 0.55


@pytest.mark.parametrize("name", ["bfloat16", "float16"])
def test_a_sum_takes_less_time(found, name):
    assert found[name]["seconds"] < 0.8 * found["exact"]["seconds"]
