"""Serve layers as map tiles, to this machine and through the Jupyter server this kernel belongs to."""

from __future__ import annotations

import functools
import os
import secrets
import threading
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from seaicekit.files import InputError
from seaicekit.maps.layers import MERCATOR, Layer

if TYPE_CHECKING:
    import morecantile
    from starlette.requests import Request
    from starlette.responses import Response

HALF = 4194304  # metres from the pole to the edge of the polar maps, as NASA's tiles have it
DEEPEST = {
    "EPSG:3413": 15,
    "EPSG:3031": 15,
    MERCATOR: 19,
}  # about 1 m a pixel at the pole, 0.3 m at the equator
SIDE = 256
_served: dict[str, Layer] = {}
_starting = threading.Lock()


@functools.cache
def grid(crs: str) -> morecantile.TileMatrixSet:
    """Return how a map is cut into tiles.

    Raises
    ------
    InputError
        There are no tiles in this CRS.
    """
    import morecantile
    import pyproj

    if crs not in DEEPEST:
        raise InputError(f"crs={crs}: there are interactive maps in {', '.join(DEEPEST)}; give one of these")
    if crs == MERCATOR:
        return morecantile.tms.get("WebMercatorQuad")
    square: list[float] = [-HALF, -HALF, HALF, HALF]
    return morecantile.TileMatrixSet.custom(
        square, pyproj.CRS(crs), maxzoom=DEEPEST[crs], id=crs.replace(":", "")
    )


def resolution(crs: str, zoom: int) -> float:
    """Return the metres a pixel of a map at a zoom."""
    return (2 * HALF / SIDE if crs != MERCATOR else 2 * np.pi * 6378137 / SIDE) / 2**zoom


def url(layer: Layer, crs: str) -> str:
    """Serve a layer from now on, and return its tiles' address with ``{z}``, ``{x}`` and ``{y}``.

    Nothing but what was handed in here is served, and only to who knows the address.
    """
    import rio_tiler.io  # noqa: F401  here, for two threads that import at once get in each other's way

    _ = grid(crs), layer.palette
    token = secrets.token_urlsafe(16)
    _served[token] = layer
    return f"{address(port())}api/tiles/{token}/{crs.replace(':', '')}/{{z}}/{{x}}/{{y}}.png"


def forget(layers: Sequence[Layer]) -> None:
    """Serve these layers no longer."""
    for token in [token for token, layer in _served.items() if layer in layers]:
        del _served[token]


@functools.cache
def _server() -> Any:
    import logging

    from server_thread import ServerThread
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.cors import CORSMiddleware
    from starlette.routing import Route

    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
    # A page from another address of this machine, as Voila's, may draw on what it loads.
    anywhere = Middleware(CORSMiddleware, allow_origins=["*"], allow_methods=["GET"])
    routes = [Route("/", _alive), Route("/api/tiles/{token}/{grid}/{z:int}/{x:int}/{y:int}.png", _tile)]
    return ServerThread(Starlette(routes=routes, middleware=[anywhere]), port=0, host="127.0.0.1", wsgi=False)


def port() -> int:
    """Return the port, on this machine alone, where tiles are served; the first call begins to."""
    with _starting:
        return _server().port


def _alive(_: Request) -> Response:
    from starlette.responses import PlainTextResponse

    return PlainTextResponse("seaicekit")


def _tile(request: Request) -> Response:
    from starlette.responses import Response

    asked = request.path_params
    layer = _served.get(asked["token"])
    crs = asked["grid"].replace("EPSG", "EPSG:")
    if layer is None or crs not in DEEPEST or asked["z"] > DEEPEST[crs]:
        return Response("no such tile", 404)
    content = tile(layer, crs, asked["x"], asked["y"], asked["z"])
    return Response(content, media_type="image/png", headers={"Cache-Control": "private, max-age=3600"})


def tile(layer: Layer, crs: str, x: int, y: int, z: int) -> bytes:
    """Paint one tile, 256 pixels a side, as PNG; transparent where the layer is not."""
    from morecantile import Tile
    from rasterio.errors import RasterioError
    from rio_tiler.errors import RioTilerError

    box = grid(crs).xy_bounds(Tile(x, y, z))
    try:
        picture = layer.image((box.left, box.bottom, box.right, box.top), crs, (SIDE, SIDE))
    except (RasterioError, RioTilerError):  # far from the raster there is no way from one CRS to the other
        picture = np.zeros((SIDE, SIDE, 4), np.uint8)
    return cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGBA2BGRA))[1].tobytes()


def address(here: int) -> str:
    """Return the address of a port of this machine, as a page that this kernel belongs to can reach it.

    On JupyterHub and Binder it is below the user's server; elsewhere below the Jupyter server that started
    this kernel, if that passes ports on (jupyter-server-proxy). Without one the page is on this machine.
    """
    direct = f"http://127.0.0.1:{here}/"
    hub = os.environ.get("JUPYTERHUB_SERVICE_PREFIX")
    if hub:
        return f"{hub.rstrip('/')}/proxy/{here}/"
    server = parent()
    if server and _passes(server["url"], server.get("token"), here):
        return f"{server['base_url'].rstrip('/')}/proxy/{here}/"
    return direct


def parent() -> dict | None:
    """Return what is known of the running Jupyter server that started this process, if one did."""
    import psutil
    from jupyter_server.serverapp import list_running_servers

    try:
        above = {process.pid for process in psutil.Process().parents()}
    except psutil.Error:
        return None
    return next((server for server in list_running_servers() if server["pid"] in above), None)


@functools.cache
def _passes(server: str, token: str | None, here: int) -> bool:
    """Say whether a Jupyter server passes a port on.

    Its answer counts, for it may be of another environment.
    """
    headers = {"Authorization": f"token {token}"} if token else {}
    # The server may listen at a name for all the world, but this question is one of this machine.
    asked = urllib.request.Request(f"{server.rstrip('/')}/proxy/{here}/", headers=headers)
    try:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(asked, timeout=5) as answer:
            return answer.status == 200
    except urllib.error.HTTPError as error:
        return error.code != 404
    except OSError:
        # out of reach from here, as with a certificate of its own; pages are more often far than near
        return True
