"""Serve layers as map tiles, to this machine and through the Jupyter server this kernel belongs to."""

from __future__ import annotations

import functools
import os
import threading
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from seaicekit.maps.layers import Layer

if TYPE_CHECKING:
    import morecantile
    from starlette.requests import Request
    from starlette.responses import Response

HALF = 8388608  # metres from the pole to the edge of the map, about 20° of latitude
DEEPEST = 16  # zoom at which a pixel is one metre
SIDE = 256
served: dict[str, Layer] = {}  # by token
_starting = threading.Lock()


@functools.cache
def grid(crs: str) -> morecantile.TileMatrixSet:
    """Return how a polar map is cut into tiles."""
    import morecantile
    import pyproj

    square: list[float] = [-HALF, -HALF, HALF, HALF]
    return morecantile.TileMatrixSet.custom(square, pyproj.CRS(crs), maxzoom=DEEPEST, id=crs.replace(":", ""))


def resolution(zoom: int) -> float:
    """Return the metres a pixel of a map at a zoom."""
    return 2 * HALF / SIDE / 2**zoom


def serve(layer: Layer, crs: str) -> str:
    """Serve a layer from now on, and return its tiles' address with ``{z}``, ``{x}`` and ``{y}``.

    Nothing but such layers is served, and only to who knows the address.
    """
    import rio_tiler.io  # noqa: F401  two threads that import it at once get in each other's way

    _ = grid(crs), layer.palette
    served[layer.token] = layer
    return f"{address(port())}api/tiles/{layer.token}/{crs.replace(':', '')}/{{z}}/{{x}}/{{y}}.png"


@functools.cache
def _server() -> Any:
    import logging

    from server_thread import ServerThread
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.cors import CORSMiddleware
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
    # A page from another address of this machine, as Voila's, may draw on what it loads.
    anywhere = Middleware(CORSMiddleware, allow_origins=["*"], allow_methods=["GET"])
    alive = Route("/", lambda _: PlainTextResponse("seaicekit"))
    tiles = Route("/api/tiles/{token}/{grid}/{z:int}/{x:int}/{y:int}.png", _respond)
    app = Starlette(routes=[alive, tiles], middleware=[anywhere])
    return ServerThread(app, port=0, host="127.0.0.1", wsgi=False)


def port() -> int:
    """Return the port, on this machine alone, where tiles are served; the first call starts the server."""
    with _starting:
        return _server().port


def _respond(request: Request) -> Response:
    from starlette.responses import Response

    asked = request.path_params
    layer, crs = served.get(asked["token"]), asked["grid"].replace("EPSG", "EPSG:")
    if layer is None or crs not in ("EPSG:3413", "EPSG:3031") or asked["z"] > DEEPEST:
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
    except (RasterioError, RioTilerError):  # far from the raster no CRS transformation may exist
        picture = np.zeros((SIDE, SIDE, 4), np.uint8)
    return cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGBA2BGRA))[1].tobytes()


def address(here: int) -> str:
    """Return the address of a port of this machine, as a page that this kernel belongs to can reach it.

    On JupyterHub and Binder it is below the user's server; elsewhere below the Jupyter server that started
    this kernel, if that passes ports on (jupyter-server-proxy). Without one the page is on this machine.
    """
    hub = os.environ.get("JUPYTERHUB_SERVICE_PREFIX")
    if hub:
        return f"{hub.rstrip('/')}/proxy/{here}/"
    server = parent()
    if server and _is_proxied(server["url"], server.get("token"), here):
        return f"{server['base_url'].rstrip('/')}/proxy/{here}/"
    return f"http://127.0.0.1:{here}/"


def parent() -> dict | None:
    """Return the description of the running Jupyter server that started this kernel, if one did."""
    from jupyter_server.serverapp import list_running_servers

    started_by = os.environ.get("JPY_PARENT_PID")
    return next((server for server in list_running_servers() if str(server["pid"]) == started_by), None)


@functools.cache
def _is_proxied(server: str, token: str | None, here: int) -> bool:
    """Ask a Jupyter server whether it passes a port on; its environment may be another one."""
    import requests

    headers = {"Authorization": f"token {token}"} if token else {}
    with requests.Session() as session:
        session.trust_env = False  # the question stays on this machine, whatever proxy it uses
        try:
            answer = session.get(f"{server.rstrip('/')}/proxy/{here}/", headers=headers, timeout=5)
        except requests.RequestException:
            return True  # not reached from here, as with a certificate of its own, but perhaps from the page
    return answer.status_code != 404
