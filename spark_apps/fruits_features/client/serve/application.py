"""The page and its HTTP interface, as routes for a FastAPI application, and the application of `fruits serve`.

    GET  /              page
    GET  /status        published run and limits, as JSON
    POST /recognise     photo as the request's body; categories and neighbours, as JSON
    GET  /openapi.json  description of the interface

Errors are JSON `{"error": "One sentence."}`, with `reason` if the photo was rejected: a value of `Reason`. A photo is
kept in memory until its request is answered, and never stored.
"""

import asyncio
from collections.abc import Callable, Mapping
from functools import cache, partial
from importlib.resources import files
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from fruits_features.client.serve import interface
from fruits_features.client.serve.guards import HEADERS, HeadersMiddleware, HostMiddleware, refuse_other_sites
from fruits_features.client.serve.limits import Limits, Refusal
from fruits_features.client.serve.service import Service, Visitor
from fruits_features.contract.rejections import Reason

DEFAULT_TOP: Final = 5
MAX_TOP: Final = 1000
_NAVIGATION: Final = "<!-- navigation -->"
_READ: Final = ["GET", "HEAD"]
_STATIC: Final = {"page.css": "text/css", "page.js": "text/javascript"}


def application(service: Service, names: tuple[str, ...]) -> FastAPI:
    """Return the application of `fruits serve`.

    Args:
        service: Service that recognises the photos.
        names: Host names of this server. IP addresses are always accepted.
    """
    app = FastAPI(
        title="Fruits",
        version=interface.VERSION,
        description=interface.DESCRIPTION,
        openapi_url=interface.PATH,
        docs_url=None,
        redoc_url=None,
    )
    app.include_router(routes(lambda: service, _any_visitor))
    _add_reading(app.router, "/health", _health, "health", interface.responses(interface.Health))
    answer_errors(app)
    app.add_exception_handler(Exception, _answer_fault)
    app.add_middleware(HostMiddleware, names=names)
    app.add_middleware(HeadersMiddleware, headers=HEADERS)
    return app


def routes(
    service: Callable[..., Service],
    visitor: Callable[..., Visitor],
    *,
    navigation: Callable[..., str] = lambda: "",
    page_headers: Mapping[str, str] | None = None,
) -> APIRouter:
    """Return the routes of the page. The application that includes them also calls `answer_errors`.

    Args:
        service: FastAPI dependency that returns the service for a request, or rejects the request.
        visitor: FastAPI dependency that returns the sender of a request, or rejects the request.
        navigation: FastAPI dependency that returns the HTML above the heading.
        page_headers: Headers of the page, besides those of the application.
    """
    router = APIRouter(dependencies=[Depends(visitor)])

    async def page(above: Annotated[str, Depends(navigation)]) -> Response:
        html = _file("page.html").replace(_NAVIGATION, above)
        return Response(html, media_type="text/html", headers=page_headers)

    async def status(
        sender: Annotated[Visitor, Depends(visitor)], used: Annotated[Service, Depends(service)]
    ) -> Response:
        current, limits = await used.current(sender), used.limits
        run = {"run": current.run.run, "categories": len(current.recogniser.categories)}
        return _json({**run, "max_bytes": limits.max_bytes, "max_pixels": limits.max_pixels})

    async def recognise(
        request: Request,
        sender: Annotated[Visitor, Depends(visitor)],
        used: Annotated[Service, Depends(service)],
        top: Annotated[int, Query(ge=1, le=MAX_TOP, description="Largest number of categories.")] = DEFAULT_TOP,
        pictures: Annotated[bool, Query(description="Whether neighbours have pictures.")] = False,  # noqa: FBT002 - a parameter of the URL
    ) -> Response:
        refuse_other_sites(request.headers)
        receive = partial(_receive, request, used.limits)
        return _json(await used.recognise(sender, receive, top=top, pictures=pictures))

    router.add_api_route("/", page, methods=_READ, include_in_schema=False)
    for name in _STATIC:
        router.add_api_route(f"/{name}", partial(_static, name), methods=_READ, include_in_schema=False)
    _add_reading(router, "/status", status, "status", interface.responses(interface.Status, 503))
    router.add_api_route(
        "/recognise",
        recognise,
        methods=["POST"],
        operation_id="recognise",
        summary="Recognise a photo",
        responses=interface.responses(interface.Recognised, 400, 408, 413, 415, 422, 429, 503, 504),
        openapi_extra={"requestBody": interface.PHOTO},
    )
    return router


def _add_reading(
    router: APIRouter, path: str, endpoint: Callable[..., Any], name: str, responses: dict[int | str, dict[str, Any]]
) -> None:
    """Add a route of the interface for GET, and for HEAD, which the description leaves out: its answer has no body."""
    router.add_api_route(path, endpoint, methods=["GET"], operation_id=name, summary=name.title(), responses=responses)
    router.add_api_route(path, endpoint, methods=["HEAD"], include_in_schema=False)


def answer_errors(app: FastAPI) -> None:
    """Let an application answer requests that it cannot fulfil with the JSON of this interface."""
    app.add_exception_handler(Refusal, _answer_refusal)
    app.add_exception_handler(HTTPException, _answer_http_error)
    app.add_exception_handler(RequestValidationError, _answer_invalid_query)


def _answer_refusal(_: Request, refusal: Exception) -> Response:
    """Return the answer to a request that cannot be fulfilled."""
    if not isinstance(refusal, Refusal):
        raise TypeError(f"{refusal!r} is not a Refusal") from refusal
    wait = {} if refusal.retry_after_s is None else {"Retry-After": str(refusal.retry_after_s)}
    reason = {"reason": refusal.reason} if refusal.reason else {}
    return _json({"error": str(refusal), **reason}, refusal.status, wait)


def _answer_http_error(_: Request, error: Exception) -> Response:
    """Return the answer to a request for another path or with another method."""
    if not isinstance(error, HTTPException):
        raise TypeError(f"{error!r} is not an HTTPException") from error
    return _json({"error": f"{error.detail}."}, error.status_code, dict(error.headers or {}))


def _answer_invalid_query(_: Request, error: Exception) -> Response:
    """Return the answer to a request whose query has a value that is not allowed."""
    if not isinstance(error, RequestValidationError):
        raise TypeError(f"{error!r} is not a RequestValidationError") from error
    first = error.errors()[0]
    return _json({"error": f"{first['loc'][-1]}: {first['msg']}."}, 422)


def _answer_fault(_: Request, __: Exception) -> Response:
    """Return the answer to a request that fails. It is made outside of the middleware that adds the headers."""
    return _json({"error": "The server failed. Its log contains the reason."}, 500, dict(HEADERS))


def _any_visitor(request: Request) -> Visitor:
    return Visitor(request.client.host if request.client else "", lambda _: True)


def _health() -> Response:
    return _json({"status": "ok"})


def _static(name: str) -> Response:
    return Response(_file(name), media_type=_STATIC[name], headers={"Cache-Control": "no-cache"})


@cache
def _file(name: str) -> str:
    return files("fruits_features.client.serve").joinpath(name).read_text(encoding="utf-8")


def _json(content: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse(content, status, {"Cache-Control": "no-store", **(headers or {})})


async def _receive(request: Request, limits: Limits) -> bytes:
    """Receive the body of a request.

    Raises:
        Refusal: It is a form, is too large, or does not arrive in time.
    """
    if request.headers.get("content-type", "").lower().startswith("multipart/"):
        raise Refusal(415, "Send the photo itself as the body of the request, not a form.")
    sentence = f"The photo is larger than {limits.max_bytes / 2**20:g} MiB."
    too_large = Refusal(413, sentence, reason=Reason.TOO_MANY_BYTES)
    if int(request.headers.get("content-length", "0")) > limits.max_bytes:
        raise too_large
    photo = bytearray()
    try:
        async with asyncio.timeout(limits.body_s):
            async for part in request.stream():
                photo += part
                if len(photo) > limits.max_bytes:
                    raise too_large
    except TimeoutError as error:
        raise Refusal(408, f"The photo did not arrive within {limits.body_s:g} seconds.") from error
    except ClientDisconnect as error:
        raise Refusal(400, "The connection ended before the photo had arrived.") from error
    return bytes(photo)
