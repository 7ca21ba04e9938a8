"""Outcome of a run: `outcome.json`, which the DAG reads, and the last line of the logs of the driver and the step."""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from fruits_features.contract import sealed
from fruits_features.recogniser.model import Recogniser


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
class RecogniserFigures:
    """Figures of a run's recogniser.

    Args:
        categories: Number of categories.
        accuracy: Share of held-out training images that it recognised; `None` if no image could be held out.
        log_loss: Mean negative logarithm of the probability of their category; `None` likewise.
    """

    categories: int
    accuracy: float | None
    log_loss: float | None

    @classmethod
    def of(cls, recogniser: Recogniser) -> Self:
        """Return the figures of a recogniser."""
        count, evaluation = len(recogniser.categories), recogniser.evaluation
        return cls(count, evaluation.accuracy, evaluation.log_loss) if evaluation else cls(count, None, None)

    def __str__(self) -> str:
        """Return the figures as a clause of a sentence."""
        if self.accuracy is None:
            return f"the recogniser of {self.categories} categories could not be evaluated"
        return f"the recogniser of {self.categories} categories is right for {self.accuracy:.1%} of held-out images"


@dataclass(frozen=True)
class Outcome:
    """Outcome of a run.

    Args:
        inventoried: Number of objects in the inventory.
        quarantined: Number of rows in `quarantine/`.
        reused: Number of objects whose outcome was in the feature cache.
        k: Number of components.
        explained_variance: Share of the variance that the components explain, of the images they were fitted on.
        projection: Version of the projection.
        kept_from: URI of the published projection if it was kept; `None` if this run fitted a new one.
        why: Reason why the projection was kept or fitted.
        seconds: Duration of each stage.
        recogniser: Figures of the recogniser; `None` if there is none.
        why_no_recogniser: Reason if there is none, one sentence; `None` if there is one.
        reasons: Number of rows in `quarantine/` by reason.
        not_followed: Request that the run did not follow, because it kept the projection, and how to follow it; `None`
            if it followed all.
    """

    inventoried: int
    quarantined: int
    reused: int
    k: int
    explained_variance: float
    projection: str
    kept_from: str | None
    why: str
    seconds: Seconds
    recogniser: RecogniserFigures | None
    why_no_recogniser: str | None
    reasons: Mapping[str, int] = field(default_factory=dict)
    not_followed: str | None = None

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Return the outcome from the content of `outcome.json`."""
        values = {entry.name: document[entry.name] for entry in fields(cls)}
        recogniser = values["recogniser"] and RecogniserFigures(**values["recogniser"])
        return cls(**{**values, "seconds": Seconds(**values["seconds"]), "recogniser": recogniser})

    def __str__(self) -> str:
        """Return the outcome as one line for the log."""
        extracted, seconds = self.inventoried - self.reused, self.seconds
        speed = f" at {extracted / seconds.describe:.0f} images/s" if extracted and seconds.describe else ""
        counts = ", ".join(f"{reason}: {count}" for reason, count in self.reasons.items())
        reasons = f" ({counts})" if counts else ""
        kept = "kept" if self.kept_from else "fitted"
        recogniser = self.recogniser or f"no recogniser: {(self.why_no_recogniser or '').rstrip('.')}"
        return (
            f"{self.inventoried} images in {seconds.start + seconds.describe + seconds.reduce:.1f} s: "
            f"{extracted} extracted{speed}, {self.reused} from the cache, {self.quarantined} quarantined{reasons}; "
            f"{self.k} components explain {self.explained_variance:.1%} of the variance "
            f"(projection {kept}: {self.why.rstrip('.')}); {recogniser}; "
            f"started in {seconds.start:.1f} s, extracted in {seconds.describe:.1f} s, "
            f"reduced and written in {seconds.reduce:.1f} s"
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
