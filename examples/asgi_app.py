"""Leads over HTTP: Starlette over ``mailgenius.open_async()``.

    uvicorn examples.asgi_app:app --http httptools --loop uvloop

The database is the one that settings name (``MAILGENIUS_DATABASE_URL``), else the embedded one. Short reads of all requests
share two connections, so that a process needs few of them. Answers are JSON by msgspec, which knows the library's types.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

import mailgenius
from mailgenius import Segment
from mailgenius.errors import ConfigError, DatabaseUnavailable, MailgeniusError, NotFound, QueryTimeout

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from starlette.requests import Request

encode = msgspec.json.Encoder().encode
STATUS = {NotFound: 404, ConfigError: 400, DatabaseUnavailable: 503, QueryTimeout: 504}


def json(content: Any, status: int = 200) -> Response:
    return Response(encode(content), status, media_type="application/json")


def answers(ask: Callable[[mailgenius.AsyncMailgenius, str, Request], Awaitable[Any]]) -> Callable[..., Any]:
    """An endpoint of what ``ask(mg, workspace, request)`` finds; None is not found."""

    async def endpoint(request: Request) -> Response:
        try:
            found = await ask(request.app.state.mg, request.path_params["workspace"], request)
        except MailgeniusError as error:
            status = next((code for kind, code in STATUS.items() if isinstance(error, kind)), 500)
            return json({"error": str(error)}, status)
        return json({"error": "not found"}, 404) if found is None else json(found)

    return endpoint


def number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, str(default))
    if not text.isdecimal() or len(text) > 9:
        raise ConfigError(f"{name}: {text!r} is not a number")
    return int(text)


@answers
async def lead(mg: mailgenius.AsyncMailgenius, workspace: str, request: Request) -> Any:
    return await mg.leads.get(workspace, request.query_params.get("email", ""))


@answers
async def page(mg: mailgenius.AsyncMailgenius, workspace: str, request: Request) -> Any:
    query = request.query_params
    return await mg.leads.page(
        workspace,
        segment(request),
        order=query.get("order", "id"),  # type: ignore[arg-type]  # checked there
        limit=number(request, "limit", 50),
        cursor=query.get("cursor"),
    )


@answers
async def search(mg: mailgenius.AsyncMailgenius, workspace: str, request: Request) -> Any:
    return await mg.leads.search(workspace, request.query_params.get("q", ""), limit=number(request, "limit", 20))


@answers
async def stats(mg: mailgenius.AsyncMailgenius, workspace: str, request: Request) -> Any:
    return await mg.leads.stats(workspace)


@answers
async def count(mg: mailgenius.AsyncMailgenius, workspace: str, request: Request) -> Any:
    return {"count": await mg.leads.count(workspace, segment(request))}


def segment(request: Request) -> Segment | None:
    """``?country=BR&tag=vip``; without either, all leads."""
    query = request.query_params
    chosen: dict[str, Any] = {}
    if "country" in query:
        chosen["country"] = query["country"]
    if "tag" in query:
        chosen["tags_any"] = query.getlist("tag")
    return Segment(**chosen) if chosen else None


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    async with mailgenius.open_async() as mg:
        app.state.mg = mg
        yield


app = Starlette(
    routes=[
        Route("/{workspace}/lead", lead),
        Route("/{workspace}/leads", page),
        Route("/{workspace}/search", search),
        Route("/{workspace}/stats", stats),
        Route("/{workspace}/count", count),
    ],
    lifespan=lifespan,
)
