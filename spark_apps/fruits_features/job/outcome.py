"""What came out of a run, for whoever goes on with it: `outcome.json`, and the last line of the driver's log."""

import json
import time
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Seconds:
    """What a run took, in seconds on the clock, up to the time at which it has checked what it wrote.

    Args:
        start: until the inventory was read and Spark had started, where Spark's workers describe.
        describe: from then on until every image was described and stored.
        reduce: from then on until the projection was there and all files were written.
    """

    start: float
    describe: float
    reduce: float


@dataclass(frozen=True)
class Outcome:
    """What came out of a run.

    Args:
        inventoried: how many objects the inventory lists.
        described: how many of them are rows of `features/`.
        quarantined: how many of them are rows of `quarantine/`.
        reused: how many of them earlier runs have described, or rejected for good.
        k: how many components there are.
        explained_variance: their share of the variance together, of the images that they were fitted on.
        projection: its version.
        kept_from: address of the published projection that it is; `None` where it was fitted by this run.
        why: it was kept or fitted.
        seconds: what it took.
    """

    inventoried: int
    described: int
    quarantined: int
    reused: int
    k: int
    explained_variance: float
    projection: str
    kept_from: str | None
    why: str
    seconds: Seconds

    def __str__(self) -> str:
        """Say it in a line of a log."""
        return (
            f"{self.inventoried} images: {self.described} described, {self.quarantined} quarantined, "
            f"{self.reused} of them known before; {self.k} components that explain {self.explained_variance:.1%}; "
            f"started in {self.seconds.start:.1f} s, described in {self.seconds.describe:.1f} s, "
            f"reduced and written in {self.seconds.reduce:.1f} s"
        )

    def to_bytes(self) -> bytes:
        """Write it as JSON."""
        return json.dumps(asdict(self), indent=1).encode()


class Stopwatch:
    """Tells how long each of some stages, one after the other, has taken."""

    def __init__(self) -> None:
        self._last_s = time.monotonic()

    def lap(self) -> float:
        """End a stage and begin the next; returns the seconds it took, to the millisecond."""
        before, self._last_s = self._last_s, time.monotonic()
        return round(self._last_s - before, 3)
