"""Bodies and statuses of the HTTP interface, from which FastAPI makes its OpenAPI document."""

from typing import Any, Final, Literal

from pydantic import BaseModel, Field

from fruits_features.client.serve.guards import HEADERS
from fruits_features.client.serve.limits import Limits
from fruits_features.contract.rejections import FORMATS, Reason

PATH: Final = "/openapi.json"
VERSION: Final = "1"
"""Version of the interface. A change that existing programs cannot use increases it."""
DESCRIPTION: Final = f"""\
Recognises photos of fruit with the published run of a bucket (`fruits serve`).

There is no authentication. Programs may call the interface, and web pages of other origins may not. Errors of all
paths, unknown ones included, have the schema `Error`, except bytes that are no HTTP request (400, text). Every answer
has the headers {", ".join(f"`{name}`" for name in HEADERS)}.
"""
PHOTO: Final = {
    "required": True,
    "description": f"The image file itself, not a form: {FORMATS}. By default it may have "
    f"{Limits.max_bytes / 2**20:g} MiB and {Limits.max_pixels:,} pixels; `GET /status` returns the limits of a server. "
    f"It must arrive within {Limits.body_s:g} seconds. Any `Content-Type` is accepted except `multipart/…`.",
    "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
}
"""Body of a request for recognition."""

_ERRORS: Final = {
    400: "The photo is empty, or the connection ended before it had arrived.",
    403: "A web page of another site has called, or the host name is not one of the server.",
    408: f"The photo did not arrive within {Limits.body_s:g} seconds.",
    413: "The photo has too many bytes or pixels.",
    415: "The photo has another format, or the body is a form.",
    422: "The photo is damaged, or a parameter has a value that is not allowed.",
    429: f"More than {Limits.per_minute} photos a minute (the default of `--photos-per-minute`), "
    f"{Limits.concurrent_per_client} at once from one visitor, or {Limits.concurrent} at once from all.",
    500: "The server failed. Its log contains the reason.",
    503: "The server is busy or loads a run, or the published run cannot be used.",
    504: f"The photo took longer than {Limits.deadline_s:g} seconds to decode.",
}
_EVERYWHERE: Final = (403, 500)
_WAITS: Final = {429: True, 503: False}
"""Statuses with the header `Retry-After`, and whether all their answers have it."""


class Error(BaseModel):
    """Reason for which a request was not fulfilled."""

    error: str = Field(description="One sentence for people.")
    reason: str = Field(  # type: ignore[assignment] # absent, never null
        None,
        description="Reason for which the photo was rejected. Only then.",
        json_schema_extra={"enum": [*Reason]},
    )


class Category(BaseModel):
    """A category and its probability."""

    category: str
    probability: float = Field(ge=0, le=1)


class Neighbour(BaseModel):
    """A training image that resembles the photo."""

    path: str = Field(description="Address of the image: `s3://<bucket>/<key>`.")
    category: str
    cosine: float = Field(description="Cosine of the components of both images, from -1 to 1.")
    picture: str | None = Field(
        None, description="Small picture as a `data:` URI. `null` if the image cannot be read. Only with `pictures`."
    )


class Recognised(BaseModel):
    """Answer for a photo."""

    run: str = Field(description="Name of the published run.")
    categories: list[Category] = Field(description="The most probable first.")
    neighbours: list[Neighbour] = Field(description="The nearest training images, the most similar first.")


class Status(BaseModel):
    """The published run, and the limits of a photo."""

    run: str = Field(description="Name of the published run.")
    categories: int = Field(description="Number of the run's categories.")
    max_bytes: int
    max_pixels: int


class Health(BaseModel):
    """The server answers. It does not read the published run."""

    status: Literal["ok"]


def responses(answer: type[BaseModel], *errors: int) -> dict[int | str, dict[str, Any]]:
    """Return FastAPI's description of the answers of a path.

    Args:
        answer: Body of status 200.
        errors: Other statuses, besides those of all paths.
    """
    described: dict[int | str, dict[str, Any]] = {status: _error(status) for status in sorted({*errors, *_EVERYWHERE})}
    return {200: {"model": answer, "description": str(answer.__doc__)}, **described}


def _error(status: int) -> dict[str, Any]:
    described: dict[str, Any] = {"model": Error, "description": _ERRORS[status]}
    if status not in _WAITS:
        return described
    wait = {"description": "Seconds after which to try again.", "required": _WAITS[status]}
    return {**described, "headers": {"Retry-After": {**wait, "schema": {"type": "integer"}}}}
