"""Progress of a run, in the driver's log and in progress.json, every few seconds.

Workers send one UDP datagram per chunk of images to the driver. Without them, no progress would be reported until the
extraction ends. Tasks are few and long, one per core, and Spark's accumulators and task counts reach the driver only
when a task ends.

Sending never blocks a worker. A lost datagram does no harm, because the next one contains the partition's total count.
If no datagram reaches the driver, the run continues and reports less progress. A secret in each datagram excludes those
of other senders.
"""

import json
import logging
import secrets
import select
import socket
import struct
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from obstore.exceptions import BaseError

from fruits_features.contract.layout import PROGRESS
from fruits_features.io import object_store

PERIOD_S = 3.0
"""Seconds between two reports."""

_MESSAGE = struct.Struct("!16sII")
"""Datagram: secret of the run, number of the partition, number of its images that have an outcome."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ProgressReporter:
    """Sends a worker's progress to the driver.

    Args:
        host: Host name of the driver.
        port: UDP port of the driver.
        secret: Secret of the run, 16 bytes.
    """

    host: str
    port: int
    secret: bytes

    def report(self, partition: int, done: int) -> None:
        """Send the number of images of a partition that have an outcome."""
        with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(_MESSAGE.pack(self.secret, partition, done), (self.host, self.port))


@dataclass(frozen=True)
class ProgressState:
    """Progress of a run at one time: the content of progress.json.

    Args:
        run: Name of the run.
        stage: `extract`, `reduce` or `done`.
        done: Number of images that have an outcome.
        images: Number of all images.
        images_per_second: Speed since the first image; 0 before it.
        seconds_left: Estimated time in seconds until all images have an outcome; `None` if it is unknown.
        updated_at: Time of this state, ISO 8601, UTC.
        reused: Number of images whose outcome was in the feature cache; included in `done`.
    """

    run: str
    stage: str
    done: int
    images: int
    images_per_second: float
    seconds_left: float | None
    updated_at: str
    reused: int = 0

    def __str__(self) -> str:
        """Return the state as one line for the log."""
        left = "" if self.seconds_left is None else f", {self.seconds_left:.0f} s left"
        share = self.done / self.images
        reused = f", {self.reused} from the cache" if self.reused else ""
        speed = f"{self.images_per_second:.0f}/s"
        return f"{self.stage}: {self.done} of {self.images} images ({share:.0%}){reused}, {speed}{left}"


class Tally:
    """Counts processed images by partition and estimates the remaining time.

    Args:
        run: Name of the run.
        images: Number of all images.
        reused: Number of images whose outcome was in the feature cache.
    """

    def __init__(self, run: str, images: int, reused: int = 0) -> None:
        self.stage = "extract"
        self._run, self._images, self._reused = run, images, reused
        self._done: dict[int, int] = {}
        self._first: tuple[float, int] | None = None

    def count(self, partition: int, done: int, now_s: float) -> None:
        """Record the number of processed images of a partition. The count of a retried partition never decreases.

        Args:
            partition: Number of the partition.
            done: Number of its images that have an outcome.
            now_s: Current time, in seconds since the epoch.
        """
        # Replaced and not modified, because another thread may be reading it.
        self._done = {**self._done, partition: max(done, self._done.get(partition, 0))}
        self._first = self._first or (now_s, sum(self._done.values()))

    def finish(self, stage: str) -> None:
        """Record that all images have an outcome and that another stage starts."""
        self.stage, self._done = stage, {0: self._images - self._reused}

    def state(self, now_s: float) -> ProgressState:
        """Return the state at a time, in seconds since the epoch."""
        images = self._images - self._reused
        done = min(images, sum(self._done.values()))
        started_s, before = self._first or (now_s, 0)
        speed = (done - before) / (now_s - started_s) if now_s > started_s else 0.0
        left = (images - done) / speed if speed and self.stage == "extract" else None
        updated = datetime.fromtimestamp(now_s, UTC).isoformat(timespec="milliseconds")
        rounded = None if left is None else round(left, 1)
        done += self._reused
        return ProgressState(self._run, self.stage, done, self._images, round(speed, 1), rounded, updated, self._reused)


class ProgressListener:
    """Receives the progress of workers and reports it. Use it in a `with` statement.

    Args:
        tally: Counter of the processed images.
        folder: URI of the run's folder, for progress.json.
    """

    def __init__(self, tally: Tally, folder: str) -> None:
        self._tally, self._folder = tally, folder
        self._sockets: list[socket.socket] = []
        self._secret = secrets.token_bytes(16)
        self._wake_sender, self._wake_receiver = socket.socketpair()
        self._thread = threading.Thread(target=self._listen, name="progress", daemon=True)

    def __enter__(self) -> Self:
        """Report the number of images, and start the thread."""
        self._report()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Stop the thread and report a last time."""
        self._wake_sender.close()
        self._thread.join()
        self._wake_receiver.close()
        for receiver in self._sockets:
            receiver.close()
        if not error:
            self._tally.finish("done")
            self._report()

    def listen(self, host: str, bind: str) -> ProgressReporter:
        """Start to receive datagrams, and return the reporter for workers.

        Args:
            host: Host name or address by which workers reach the driver.
            bind: Local address to bind.
        """
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        receiver.bind((bind, 0))
        self._sockets.append(receiver)
        self._wake_sender.send(b"\0")  # wakes the thread, so that it includes the new socket
        return ProgressReporter(host, receiver.getsockname()[1], self._secret)

    def report(self, partition: int, done: int) -> None:
        """Record the number of processed images of a partition that this process works on."""
        self._tally.count(partition, done, time.time())

    def begin_reduction(self) -> None:
        """Record that all images have an outcome, and report it. Few images have one before the first period ends."""
        self._tally.finish("reduce")
        self._report()

    def _listen(self) -> None:
        report_at = time.monotonic() + PERIOD_S
        while True:
            wait_s = max(0.0, report_at - time.monotonic())
            readable, _, _ = select.select([self._wake_receiver, *self._sockets], [], [], wait_s)
            if self._wake_receiver in readable and not self._wake_receiver.recv(1):
                return
            for receiver in readable:
                if receiver is not self._wake_receiver:
                    self._receive(receiver.recv(_MESSAGE.size))
            if time.monotonic() >= report_at:
                report_at += PERIOD_S
                self._report()

    def _receive(self, message: bytes) -> None:
        """Record a datagram. Datagrams without the run's secret are ignored."""
        if len(message) == _MESSAGE.size and message.startswith(self._secret):
            _, partition, done = _MESSAGE.unpack(message)
            self.report(partition, done)

    def _report(self) -> None:
        """Log the state and write progress.json. A failure to write it does not fail the run."""
        state = self._tally.state(time.time())
        _log.info("%s", state)
        try:
            object_store.write_bytes(self._folder, PROGRESS, json.dumps(asdict(state)).encode())
        except (BaseError, OSError) as error:
            _log.warning("progress.json could not be written: %s", error)
