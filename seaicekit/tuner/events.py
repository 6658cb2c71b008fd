"""Key presses while the mouse is over a widget, and calls that wait until events cease."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import anywidget
import traitlets

# ipyevents would take every key while the mouse is over a widget, also those that someone types into a field.
# The window is listened to, because JupyterLab's own shortcuts listen on the document.
LISTEN = """
function render({ model, el }) {
    const handle = (event) => {
        const box = el.closest("." + model.get("area"));
        const fields = "input, textarea, select, [contenteditable=true]";
        const typing = event.target.closest && event.target.closest(fields);
        const other = event.ctrlKey || event.metaKey || event.altKey;
        if (!box || !box.matches(":hover") || typing || other) return;
        if (!model.get("accepted").includes(event.key)) return;
        event.preventDefault();
        event.stopImmediatePropagation();
        model.send({ key: event.key });
    };
    window.addEventListener("keydown", handle, true);
    return () => window.removeEventListener("keydown", handle, true);
}
export default { render };
"""


class KeyListener(anywidget.AnyWidget):
    """An invisible part of a page that listens to keys.

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
    accepted = traitlets.Unicode().tag(sync=True)

    def __init__(self, area: str, keys: str, pressed: Callable[[str], None]):
        super().__init__(area=area, accepted=keys)
        self.layout.display = "none"
        self.on_msg(lambda _, content, __: pressed(content["key"]))


class Debounce:
    """Call a function once no call has come for some seconds; without an event loop, at once."""

    def __init__(self, seconds: float, function: Callable[[], None]):
        self._seconds, self._function = seconds, function
        self._handle: asyncio.TimerHandle | None = None

    def __call__(self) -> None:
        """Wait anew, then call the function."""
        if self._handle:
            self._handle.cancel()
        try:
            self._handle = asyncio.get_running_loop().call_later(self._seconds, self._function)
        except RuntimeError:
            self._function()
