"""`hpcad doctor` on four hosts, one of which sends at 100 Mbit/s: it names that host, and no other.

The other hosts are as fast as this machine copies.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from two_hosts import switched_hosts

HERE = Path(__file__).parent
SECONDS = 60

pytestmark = [pytest.mark.alone, pytest.mark.timeout(SECONDS + 30)]


def test_a_host_with_a_slow_cable_is_named(tmp_path):
    with switched_hosts(4, tmp_path, SECONDS, slow="100mbit") as hosts:
        words = ["-m", "hpcad", "doctor", "--json", "--device", "cpu"]
        done = hosts.mpirun(words, timeout=SECONDS - 10, cwd=HERE)
    told = json.loads(done.stdout)
    found = [each for each in told["findings"] if each["kind"].startswith("slow ")]
    found = [each for each in found if each["kind"] != "slow start"]  # of a busy machine
    assert [(each["kind"], each["hosts"]) for each in found] == [("slow host", [hosts.names[3]])]
    assert f"{hosts.names[3]} (rank 3) sends at " in found[0]["what"]
    assert f"--exclude={hosts.names[3]}`" in found[0]["change"]
    # 100 Mbit/s are 12.5 MB/s; the bucket of 128 kB saves up half of a message of 256 kB.
    rates = [link["bandwidth"] for link in told["facts"][3]["links"]]
    assert len(rates) == 3
    assert all(rate < 40e6 for rate in rates), rates
