"""Rectangles of pixels."""

from __future__ import annotations

from typing import NamedTuple

from seaicekit.files import InputError


class Window(NamedTuple):
    """A rectangle of pixels: first row, first column, height, width."""

    row: int
    col: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """The rectangle as (rows, columns) slices."""
        return slice(self.row, self.row + self.height), slice(self.col, self.col + self.width)

    def padded(self, halo: int, shape: tuple[int, ...], step: int = 1) -> Window:
        """Return the rectangle grown by ``halo`` pixels and to multiples of ``step``, within ``shape``."""
        row, col = max(0, self.row - halo) // step * step, max(0, self.col - halo) // step * step
        bottom = min(shape[0], -(-(self.row + self.height + halo) // step) * step)
        right = min(shape[1], -(-(self.col + self.width + halo) // step) * step)
        return Window(row, col, bottom - row, right - col)

    def within(self, outer: Window) -> tuple[slice, slice]:
        """Return the slices that cut this rectangle out of an array that covers ``outer``."""
        return Window(self.row - outer.row, self.col - outer.col, self.height, self.width).slices


def blocks(shape: tuple[int, ...], block: int | None) -> list[Window]:
    """Cut (rows, columns) into windows of at most ``block`` pixels a side, row by row; None is one window."""
    if block is None:
        return [Window(0, 0, *shape)]
    if block < 1:
        raise InputError(f"block: must be at least 1 pixel, not {block}")
    return [
        Window(row, col, min(block, shape[0] - row), min(block, shape[1] - col))
        for row in range(0, shape[0], block)
        for col in range(0, shape[1], block)
    ]
