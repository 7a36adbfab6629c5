from __future__ import annotations

import sys

import pytest

from hpcad.data.packing.progress import Bar, Progress, as_progress, shown


def test_lines_keep_their_distance_but_for_the_last() -> None:
    now, lines = [0.0], list[str]()
    progress = Progress(lines.append, seconds=5, clock=lambda: now[0])
    progress.begin("f", 100, "samples")
    for done in range(10, 101, 10):
        progress.update(done)
        now[0] += 2
    progress.end()
    assert lines == [
        "f: 10 of 100 samples",
        "f: 40 of 100 samples, 12 s left",
        "f: 70 of 100 samples, 6 s left",
        "f: 100 of 100 samples",
    ]


def test_what_was_there_before_does_not_count_as_speed() -> None:
    now, lines = [0.0], list[str]()
    progress = Progress(lines.append, seconds=1, clock=lambda: now[0])
    progress.begin("f", 1000, "samples")
    progress.update(900)
    now[0] = 10
    progress.update(950)
    assert lines[-1] == "f: 950 of 1,000 samples, 10 s left"


def test_a_bar_in_a_terminal_and_lines_elsewhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert type(shown(print, True)) is Progress
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    bar = shown(print, True)
    assert isinstance(bar, Bar)
    bar.begin("f", 50, "samples")
    bar.update(20)
    bar.update(50)
    bar.end()
    assert "50.0/50.0" in capsys.readouterr().err


def test_other_ranks_are_silent(capsys: pytest.CaptureFixture[str]) -> None:
    for progress in (shown(print, False), as_progress(None)):
        progress.begin("f", 1, "samples")
        progress.update(1)
        progress.message("done")
    assert capsys.readouterr().out == ""
