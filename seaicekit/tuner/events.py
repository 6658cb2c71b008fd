"""What a widget hears: keys while the mouse is over it, and silence."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import anywidget
import traitlets

# ipyevents would take every key while the mouse is over a widget, also those that someone types into a field.
# On the window, for JupyterLab's own shortcuts listen on the document.
LISTEN = """
function render({ model, el }) {
    const hear = (event) => {
        const box = el.closest("." + model.get("area"));
        const typing = event.target.closest && event.target.closest("input, textarea, select, [contenteditable=true]");
        const other = event.ctrlKey || event.metaKey || event.altKey;
        if (!box || !box.matches(":hover") || typing || other || !model.get("heard").includes(event.key)) return;
        event.preventDefault();
        event.stopImmediatePropagation();
        model.send({ key: event.key });
    };
    window.addEventListener("keydown", hear, true);
    return () => window.removeEventListener("keydown", hear, true);
}
export default { render };
"""


class Keys(anywidget.AnyWidget):
    """An invisible part of a page that hears keys.

    Parameters
    ----------
    area : str
        CSS class of the widget around it over which the mouse must be.
    keys : str
        The keys, each a character.
    pressed : callable
        Called with the key.
    """

    _esm = LISTEN
    area = traitlets.Unicode().tag(sync=True)
    heard = traitlets.Unicode().tag(sync=True)

    def __init__(self, area: str, keys: str, pressed: Callable[[str], None]):
        super().__init__(area=area, heard=keys)
        self.layout.display = "none"
        self.on_msg(lambda _, content, __: pressed(content["key"]))


class Later:
    """Call a function once nothing has asked for it for some seconds; without an event loop, at once."""

    def __init__(self, seconds: float, function: Callable[[], None]):
        self._seconds, self._function = seconds, function
        self._handle: asyncio.TimerHandle | None = None

    def __call__(self) -> None:
        """Ask for it."""
        if self._handle:
            self._handle.cancel()
        try:
            self._handle = asyncio.get_running_loop().call_later(self._seconds, self._function)
        except RuntimeError:
            self._function()
