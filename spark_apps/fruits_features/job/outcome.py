"""Outcome of a run: `outcome.json`, which the DAG reads, and the last line of the driver's log."""

import json
import time
from dataclasses import asdict, dataclass

from fruits_features.contract import sealed


@dataclass(frozen=True)
class Seconds:
    """Duration of each stage of a run, in seconds of wall-clock time.

    Args:
        start: Reading the inventory, and starting Spark if its workers are used.
        describe: Extracting the features and writing them to the cache.
        reduce: Fitting the projection, and writing and checking all files.
    """

    start: float
    describe: float
    reduce: float


@dataclass(frozen=True)
class Outcome:
    """Outcome of a run.

    Args:
        inventoried: Number of objects in the inventory.
        described: Number of rows in `features/`.
        quarantined: Number of rows in `quarantine/`.
        reused: Number of objects whose outcome was in the feature cache.
        k: Number of components.
        explained_variance: Share of the variance that the components explain, of the images they were fitted on.
        projection: Version of the projection.
        kept_from: URI of the published projection if it was kept; `None` if this run fitted a new one.
        why: Reason why the projection was kept or fitted.
        seconds: Duration of each stage.
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
        """Return the outcome as one line for the log."""
        return (
            f"{self.inventoried} images: {self.described} with features, {self.quarantined} quarantined, "
            f"{self.reused} from the cache; {self.k} components explain {self.explained_variance:.1%} of the variance; "
            f"started in {self.seconds.start:.1f} s, extracted in {self.seconds.describe:.1f} s, "
            f"reduced and written in {self.seconds.reduce:.1f} s"
        )

    def to_bytes(self) -> bytes:
        """Return the outcome as JSON, with its digest."""
        return json.dumps(sealed.seal(asdict(self)), indent=1).encode()


class Stopwatch:
    """Measures the duration of consecutive stages."""

    def __init__(self) -> None:
        self._last_s = time.monotonic()

    def lap(self) -> float:
        """End a stage and start the next one. Return the duration in seconds, to the millisecond."""
        before, self._last_s = self._last_s, time.monotonic()
        return round(self._last_s - before, 3)
