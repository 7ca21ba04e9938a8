"""How far the run is: in the driver's log and as progress.json, every few seconds.

Workers tell the driver with one UDP datagram a chunk of images. That costs them nothing and waits for nobody, and what
gets lost is made good by the next one, as each tells the whole count of its part. (Spark's own accumulators reach the
driver when a task ends, and the tasks here are few and long.) Where datagrams do not get through, the run goes on all
the same and progress says less.
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
_MESSAGE = struct.Struct("!16sII")
"""The run's secret, the number of a part, how many of its images are done."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ProgressReporter:
    """What a worker needs for telling the driver how far it is.

    Args:
        host: the driver's.
        port: where it listens.
        secret: tells this run's messages from others'; 16 bytes.
    """

    host: str
    port: int
    secret: bytes

    def report(self, partition: int, done: int) -> None:
        """Send how many images of a partition are done."""
        with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(_MESSAGE.pack(self.secret, partition, done), (self.host, self.port))


@dataclass(frozen=True)
class ProgressState:
    """How far a run is at one time; as in progress.json.

    Args:
        run: its name.
        stage: `describe`, `reduce` or `done`.
        done: how many images are described or rejected.
        images: how many there are.
        images_per_second: since the first image was done; 0 before.
        seconds_left: until all images are described, at that speed; `None` where it cannot be told.
        updated_at: when this was true; ISO 8601, UTC.
        reused: how many images earlier runs have described; they count as done.
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
        """Say it in a line of a log."""
        left = "" if self.seconds_left is None else f", {self.seconds_left:.0f} s left"
        share = self.done / self.images
        known = f", {self.reused} of them known already" if self.reused else ""
        speed = f"{self.images_per_second:.0f}/s"
        return f"{self.stage}: {self.done} of {self.images} images ({share:.0%}){known}, {speed}{left}"


class Tally:
    """Counts images done by part, and estimates from when they were done.

    Args:
        run: the run's name.
        images: how many there are.
        reused: how many of them need not be done.
    """

    def __init__(self, run: str, images: int, reused: int = 0) -> None:
        self.stage = "describe"
        self._run, self._images, self._reused = run, images, reused
        self._done: dict[int, int] = {}
        self._first: tuple[float, int] | None = None

    def count(self, part: int, done: int, now_s: float) -> None:
        """Take in that so many images of a part were done at some time; a part tried again does not count back."""
        self._done = {**self._done, part: max(done, self._done.get(part, 0))}  # whole, as another thread reads it
        self._first = self._first or (now_s, sum(self._done.values()))

    def finish(self, stage: str) -> None:
        """Take in that every image is done and another stage begins."""
        self.stage, self._done = stage, {0: self._images - self._reused}

    def state(self, now_s: float) -> ProgressState:
        """Estimate."""
        images = self._images - self._reused
        done = min(images, sum(self._done.values()))
        began_s, before = self._first or (now_s, 0)
        speed = (done - before) / (now_s - began_s) if now_s > began_s else 0.0
        left = (images - done) / speed if speed and self.stage == "describe" else None
        updated = datetime.fromtimestamp(now_s, UTC).isoformat(timespec="seconds")
        rounded = None if left is None else round(left, 1)
        done += self._reused
        return ProgressState(self._run, self.stage, done, self._images, round(speed, 1), rounded, updated, self._reused)


class ProgressListener:
    """Tells people how far the run is; use it in a `with` statement.

    Args:
        tally: what is told.
        folder: the run's folder, for progress.json.
    """

    def __init__(self, tally: Tally, folder: str) -> None:
        self._tally, self._folder = tally, folder
        self._reported: list[socket.socket] = []
        self._secret = secrets.token_bytes(16)
        self._end, self._ended = socket.socketpair()
        self._thread = threading.Thread(target=self._listen, name="progress", daemon=True)

    def __enter__(self) -> Self:
        """Begin to listen."""
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Tell a last time and stop."""
        self._end.close()
        self._thread.join()
        self._ended.close()
        for one in self._reported:
            one.close()
        if not error:
            self._tally.finish("done")
            self._tell()

    def listen(self, host: str, bind: str) -> ProgressReporter:
        """Begin to listen to the workers.

        Args:
            host: this driver, as those who describe reach it.
            bind: its own address that it listens on.
        """
        listening = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        listening.bind((bind, 0))
        self._reported.append(listening)
        self._end.send(b"\0")  # so that the thread looks there, too
        return ProgressReporter(host, listening.getsockname()[1], self._secret)

    def report(self, partition: int, done: int) -> None:
        """Record that `done` images of a partition are done; for partitions that this process works on."""
        self._tally.count(partition, done, time.time())

    def begin_reduction(self) -> None:
        """Take in that all images are described."""
        self._tally.finish("reduce")

    def _listen(self) -> None:
        tell_at = time.monotonic() + PERIOD_S
        while True:
            wait_s = max(0.0, tell_at - time.monotonic())
            said, _, _ = select.select([self._ended, *self._reported], [], [], wait_s)
            if self._ended in said and not self._ended.recv(1):
                return
            for one in (one for one in said if one is not self._ended):
                self._take_in(one.recv(_MESSAGE.size))
            if time.monotonic() >= tell_at:
                tell_at += PERIOD_S
                self._tell()

    def _take_in(self, message: bytes) -> None:
        if len(message) == _MESSAGE.size and message.startswith(self._secret):
            _, part, done = _MESSAGE.unpack(message)
            self.report(part, done)

    def _tell(self) -> None:
        """Log and write how far the run is; that this fails is not worth a run."""
        state = self._tally.state(time.time())
        _log.info("%s", state)
        try:
            object_store.write_bytes(self._folder, PROGRESS, json.dumps(asdict(state)).encode())
        except (BaseError, OSError) as error:
            _log.warning("progress.json could not be written: %s", error)
