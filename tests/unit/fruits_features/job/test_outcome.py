"""What a run says of itself when it is done."""

import json
import time
from dataclasses import replace

from fruits_features.job.outcome import Outcome, Seconds, Stopwatch

OUTCOME = Outcome(
    inventoried=20_000,
    described=19_998,
    quarantined=2,
    reused=19_600,
    k=60,
    explained_variance=0.9502,
    projection="ba8fb5272968",
    kept_from=None,
    why="There is no published projection to keep.",
    seconds=Seconds(start=0.812, describe=10.25, reduce=1.5),
)


def test_outcome_is_one_line_of_a_log() -> None:
    assert str(OUTCOME) == (
        "20000 images: 19998 described, 2 quarantined, 19600 of them known before; 60 components that explain 95.0%; "
        "started in 0.8 s, described in 10.2 s, reduced and written in 1.5 s"
    )


def test_outcome_is_read_back_by_name() -> None:
    told = json.loads(replace(OUTCOME, kept_from="s3://fruits/p.npz").to_bytes())

    assert (told["reused"], told["kept_from"], told["seconds"]["describe"]) == (19_600, "s3://fruits/p.npz", 10.25)


def test_laps_follow_one_another() -> None:
    began_s, laps = time.monotonic(), Stopwatch()
    time.sleep(0.02)
    first = laps.lap()
    second = laps.lap()

    assert first >= 0.02
    assert first + second <= time.monotonic() - began_s + 0.001
