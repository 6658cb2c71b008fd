"""The labelling rule: its parameters, its version, and what it is for one scene."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, InstanceOf, model_validator

from seaicekit.files import InputError
from seaicekit.labels import cloud_filter
from seaicekit.labels.cloud_filter import WINDOW
from seaicekit.parameters import Parameters
from seaicekit.scenes import Window, blocks
from seaicekit.thresholds import Thresholds

# The version of the labelling rule. Raise it with each change that can change a label: rasters of another
# version are made anew. tests/labels/test_golden.py fails if labels change and the version does not.
VERSION = 2

NodataRule = Literal["mask", "ignore"]
Scope = Literal["scene", "tile"]
OpaqueRule = Literal["off", "scl"]
Percentile = Annotated[float, Field(ge=0, le=100)]

SCL_OPAQUE = (8, 9)  # Sentinel-2 scene classification: cloud of medium and of high probability


class RuleOptions(Parameters):
    """What is done to a scene before the cuts."""

    cloud_filter: bool = Field(
        True, description="Filter thin cloud and shadow before the cuts, as the paper does."
    )
    nodata: NodataRule = Field(
        "mask",
        description="mask: pixels without data become 255, enter the background as white and are not "
        "counted; ignore: no pixel is special, as in the paper, whose black edges are open water.",
    )
    window: int | str = Field(
        WINDOW,
        description='Side of the filter\'s window, an odd number of pixels, or metres as "7750 m"; '
        "above 255 pixels the background is taken from a thinned-out image.",
    )
    scope: Scope = Field(
        "scene",
        description="tile: filter each tile by itself, as the paper's Spark job does; labels then depend on "
        "where the tiles lie.",
    )
    tile: int = Field(256, ge=1, description="Side of the tiles of scope tile, pixels.")
    normalise: tuple[Percentile, Percentile] | None = Field(
        None,
        description="Two percentiles of a scene's brightness that are stretched to 0 and 255 first, to even "
        "out illumination.",
    )
    opaque: OpaqueRule = Field(
        "off",
        description="scl: cloud that hides the ice becomes no data, by the product's scene classification "
        "layer, which a scene must bring (#scl=1).",
    )

    @model_validator(mode="after")
    def _check_options(self) -> Self:
        cloud_filter.window_pixels(self.window, 1.0)
        if self.normalise is not None and self.normalise[0] >= self.normalise[1]:
            raise InputError(
                f"normalise: must be two percentiles, the lower first, not {list(self.normalise)}"
            )
        return self


class Rule(RuleOptions):
    """How a scene becomes labels: what is done before the cuts, and the cuts."""

    thresholds: InstanceOf[Thresholds] = Field(Thresholds(), description="The cuts; the paper's by default.")

    def __init__(self, thresholds: Thresholds | None = None, **options: Any):
        Parameters.__init__(self, thresholds=thresholds or Thresholds(), **options)

    @classmethod
    def of(cls, values: Parameters | Thresholds | None = None, **changes: Any) -> Rule:
        """Make a rule of cuts, or of another rule or options, and what differs from it."""
        if isinstance(values, Thresholds):
            return cls(values, **changes)
        if not isinstance(values, Parameters | None):
            raise InputError(
                f"thresholds: must be Thresholds or a Rule, not {type(values).__name__}; "
                "read a file by Thresholds.load, a dict by Thresholds.from_dict"
            )
        return super().of(values, **changes)

    def to_dict(self) -> dict:
        """Return the rule as JSON values, for `from_dict`."""
        options = self.model_dump(mode="json", exclude={"thresholds"})
        return {"thresholds": self.thresholds.to_dict()} | options

    @classmethod
    def from_dict(cls, values: dict) -> Rule:
        """Make a rule from what `to_dict` returned; options of earlier versions are left out."""
        known = {name: value for name, value in values.items() if name in cls.model_fields}
        return cls(**known | {"thresholds": Thresholds.from_dict(values["thresholds"])})

    def for_scene(self, resolution: float | None, stretch: tuple[int, int] | None = None) -> SceneRule:
        """Return the rule for a scene of so many metres a pixel, None where it has no such size.

        ``stretch`` are the scene's brightnesses at the percentiles of ``normalise``.
        """
        window = cloud_filter.window_pixels(self.window, resolution)
        return SceneRule(self, window, cloud_filter.thinning(window), stretch)

    def hidden(self, scl: np.ndarray | None) -> np.ndarray | None:
        """Return where opaque cloud hides the ice, (rows, columns) bool; None where ``opaque`` is off."""
        if self.opaque == "off":
            return None
        if scl is None:
            raise InputError('opaque: "scl" needs the scene classification layer; open the scene with #scl=1')
        return np.isin(scl, SCL_OPAQUE)

    def blocks(self, shape: tuple[int, ...], block: int | None) -> list[Window]:
        """Cut a scene into blocks; where tiles are filtered by themselves, of whole tiles."""
        if self.scope == "tile" and block is not None:
            block = -(-block // self.tile) * self.tile
        return blocks(shape, block)


@dataclass(frozen=True)
class SceneRule:
    """A rule with the numbers that it has for one scene.

    Attributes
    ----------
    rule : Rule
    window : int
        Side of the background's window, pixels.
    thinning : int
        Every how many pixels the background is computed, see `cloud_filter.background`.
    stretch : (int, int), optional
        Brightnesses that become 0 and 255 before all else.
    """

    rule: Rule
    window: int
    thinning: int
    stretch: tuple[int, int] | None = None

    @property
    def halo(self) -> int:
        """Pixels around a block that its labels depend on."""
        by_scene = self.rule.cloud_filter and self.rule.scope == "scene"
        return cloud_filter.halo(self.window, self.thinning) if by_scene else 0

    def surroundings(self, block: Window, shape: tuple[int, ...]) -> Window:
        """Return a block of a scene of ``shape`` with all around it that its labels depend on."""
        return block.padded(self.halo, shape, self.thinning if self.halo else 1)
