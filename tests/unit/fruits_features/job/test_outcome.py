"""Outcome of a run, as a log line and as JSON."""

import json
import time
from dataclasses import replace

from fruits_features.job.outcome import Outcome, RecogniserFigures, Seconds, Stopwatch

OUTCOME = Outcome(
    inventoried=20_000,
    quarantined=2,
    reused=19_600,
    k=60,
    explained_variance=0.9502,
    projection="ba8fb5272968",
    kept_from=None,
    why="There is no published projection to keep.",
    seconds=Seconds(start=0.812, describe=10.25, reduce=1.5),
    recogniser=RecogniserFigures(categories=131, accuracy=0.9321, log_loss=0.25),
    why_no_recogniser=None,
    reasons={"unreadable": 2},
)


def test_outcome_is_one_log_line() -> None:
    assert str(OUTCOME) == (
        "20000 images in 12.6 s: 400 extracted at 39 images/s, 19600 from the cache, 2 quarantined (unreadable: 2); "
        "60 components explain 95.0% of the variance (projection fitted: There is no published projection to keep); "
        "the recogniser of 131 categories is right for 93.2% of held-out images; "
        "started in 0.8 s, extracted in 10.2 s, reduced and written in 1.5 s"
    )


def test_log_line_says_why_there_is_no_recogniser_or_no_evaluation() -> None:
    without = replace(OUTCOME, recogniser=None, why_no_recogniser="It needs two categories.")
    untested = replace(OUTCOME, recogniser=RecogniserFigures(3, None, None))

    assert "; no recogniser: It needs two categories; started" in str(without)
    assert "; the recogniser of 3 categories could not be evaluated; started" in str(untested)
    assert [Outcome.of(json.loads(outcome.to_bytes())) for outcome in (without, untested)] == [without, untested]


def test_outcome_is_read_back_by_name() -> None:
    kept = replace(OUTCOME, kept_from="s3://fruits/p.npz", not_followed="The explained variance was not followed.")
    document = json.loads(kept.to_bytes())

    assert Outcome.of(document) == kept
    assert (document["reused"], document["kept_from"], document["seconds"]["describe"]) == (
        19_600,
        "s3://fruits/p.npz",
        10.25,
    )


def test_laps_are_consecutive() -> None:
    started_s, stopwatch = time.monotonic(), Stopwatch()
    time.sleep(0.02)
    first = stopwatch.lap()
    second = stopwatch.lap()

    assert first >= 0.02
    assert first + second <= time.monotonic() - started_s + 0.001
