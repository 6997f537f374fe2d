"""The addresses of slots, which mail programs and browsers ask without credentials: their tokens are sealed.

    GET  /v1/slot/{token}.png     the slot's picture, picked and drawn now
    GET  /v1/slot/{token}/click   302 to the item that the picture showed

A token that is not taken is answered 403 (forged, of another key or purpose), 410 (its time is over or it is used up) or
429 (too fast), with an empty body. HEAD answers as GET does; a click's HEAD, or one that a browser prefetches, is not
recorded.
"""

from typing import TYPE_CHECKING

from tribid.ranker.open_time.open_time import Opened, OpenTime, RefusedError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route
    from starlette.types import Receive, Scope, Send

ARRIVED = "tribid.arrived"
"""Key of an ASGI scope: when the request's first byte came, on the clock of ``perf_counter``, where the service says so."""

SLOT_PREFIX = "/v1/slot/"
PICTURE_ROUTE, CLICK_ROUTE = "/v1/slot/{token}.png", "/v1/slot/{token}/click"

_NO_STORE = {
    "cache-control": "private, no-store, no-cache, must-revalidate, max-age=0",
    "pragma": "no-cache",
    "expires": "0",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
"""No ETag: a proxy that may not keep a picture has nothing to compare."""


def slot_route(path: str) -> str | None:
    """The route that a path is of, by its name; None for a path of others. Its callers carry no credentials.

    >>> slot_route("/v1/slot/1abc.png"), slot_route("/v1/slot/1abc/click"), slot_route("/v1/slot/a/b.png")
    ('/v1/slot/{token}.png', '/v1/slot/{token}/click', None)
    """
    if not path.startswith(SLOT_PREFIX):
        return None
    rest = path[len(SLOT_PREFIX) :]
    for end, route in ((".png", PICTURE_ROUTE), ("/click", CLICK_ROUTE)):
        token = rest.removesuffix(end)
        if token and token != rest and "/" not in token:
            return route
    return None


def open_time_routes(part: OpenTime) -> "list[Route]":
    """The routes of one ``OpenTime``, for any Starlette or FastAPI application (``app.router.routes.extend``)."""
    try:
        from starlette.responses import Response
        from starlette.routing import Route
    except ImportError as error:
        raise ImportError("serving slots needs FastAPI: pip install 'tribid[serve]'") from error

    class _Picture(Response):
        """An answer that looks at the stock once more when it is sent."""

        media_type = "image/png"

        def __init__(self, opened: Opened, headers: dict[str, str]) -> None:
            super().__init__(opened.picture, headers=headers)
            self._opened = opened

        async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
            self.body = self._opened.content()
            self.headers["content-length"] = str(len(self.body))
            await super().__call__(scope, receive, send)

    async def picture(request: "Request") -> "Response":
        try:
            opened = await part.open(request.path_params["token"], request.scope.get(ARRIVED))
        except RefusedError as error:
            return _refused(error)
        return _Picture(opened, headers={**_NO_STORE, "cross-origin-resource-policy": "cross-origin"})

    async def click(request: "Request") -> "Response":
        try:
            url = await part.click(request.path_params["token"], counts=_is_meant(request))
        except RefusedError as error:
            return _refused(error)
        return Response(status_code=302, headers={**_NO_STORE, "location": url})

    return [Route(PICTURE_ROUTE, picture, methods=["GET"]), Route(CLICK_ROUTE, click, methods=["GET"])]


def _refused(error: RefusedError) -> "Response":
    from starlette.responses import Response

    headers = {**_NO_STORE, "retry-after": str(error.wait_s)} if error.wait_s else _NO_STORE
    return Response(status_code=error.status, headers=headers)


def _is_meant(request: "Request") -> bool:
    """Whether somebody clicked, rather than a program looking where a link leads."""
    asked = request.headers.get("sec-purpose", "") + request.headers.get("purpose", "")
    return request.method == "GET" and "prefetch" not in asked and "prerender" not in asked
