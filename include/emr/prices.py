"""The table of prices, with the instance types of clusters and their cost per hour.

The default is `prices.toml`. `FRUITS_PRICES` names another file, for another region, other types or negotiated prices.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from datetime import date  # noqa: TC003 - pydantic reads it
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from include.settings import Architecture  # noqa: TC001 - pydantic reads it

Market = Literal["ON_DEMAND", "SPOT"]

DEFAULT_FILE = Path(__file__).parent / "prices.toml"


class PricesError(ValueError):
    """The table of prices is invalid; the message names the file and the entry."""


@dataclass(frozen=True)
class InstanceType:
    """A type of EC2 instance.

    Args:
        name: EC2's name of the type.
        architecture: Architecture of the processors.
        vcpus: Number of virtual CPUs.
        yarn_memory_mb: Memory for YARN's containers on a node of EMR, in MB.
        ec2: EC2's on-demand price in dollars per hour.
        emr: EMR's additional price in dollars per hour, on demand and spot.
    """

    name: str
    architecture: Architecture
    vcpus: int
    yarn_memory_mb: int
    ec2: float
    emr: float


@dataclass(frozen=True)
class PriceTable:
    """Prices of one region.

    Args:
        region: AWS region.
        date: Date of the prices.
        source: Source of the prices.
        spot_share: Assumed spot price as a share of the on-demand price. Actual spot prices vary.
        types: Instance types that a cluster may have.
    """

    region: str
    date: date
    source: str
    spot_share: float
    types: tuple[InstanceType, ...]

    @property
    def name(self) -> str:
        """Region and date of the prices."""
        return f"{self.region}, {self.date:%Y-%m-%d}"

    def hourly(self, kind: InstanceType, market: Market) -> float:
        """Return the price of an instance in dollars per hour."""
        return kind.emr + kind.ec2 * (self.spot_share if market == "SPOT" else 1.0)

    def named(self, name: str) -> InstanceType | None:
        """Return the type with a name; None if the table lacks it."""
        return next((kind for kind in self.types if kind.name == name), None)


@cache
def price_table(file: Path | None = None) -> PriceTable:
    """Read a table of prices.

    Args:
        file: Path of the file; None for `DEFAULT_FILE`.

    Raises:
        PricesError: The file is missing or is not a table of prices.
    """
    file = file or DEFAULT_FILE
    try:
        return TypeAdapter(PriceTable).validate_python(tomllib.loads(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise PricesError(
            f"Cannot read the table of prices {file}: {error.strerror}; correct FRUITS_PRICES."
        ) from error
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise PricesError(f"{file} is not a table of prices like {DEFAULT_FILE.name}: {error}") from error
