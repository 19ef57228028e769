"""Coloured regions of a camera image: which pixels look like which object. Used by `bridge.tracker`.

A colour is reduced to its share of red, green and blue, which shading does not change; what counts is its direction
away from grey and how far it goes that way. A pixel at least half as saturated as an object, and nearer to its hue than
to any other object's, is the object's. Source: chromaticity coordinates r, g, b = (R, G, B) / (R + G + B).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from core.arrays import Floats, Image, Ints
from core.errors import ConfigError
from core.tasks import ObjectInfo

_GREY = np.full(3, 1.0 / 3.0)
_DARKEST = 28.0
"""Brightest channel below which a pixel has no colour worth trusting [0..255]."""
_MIN_SATURATION = 0.06
"""Distance from grey that an object needs, in chromaticity."""
_MIN_HUE_DEG = 16.0
"""Angle between the hues of two objects that can still be told apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """The pixels of one object in one image."""

    outline: Floats
    """Outermost pixels that are not cut off by the image border, shape (M, 2) [px]."""
    centre: Floats
    """Centroid of the area inside the outline, shape (2,) [px]."""
    area_px: float
    """Area inside the outline."""
    clipped: float
    """Share of the outline that lies on the image border, [0, 1]."""


class ColourTable:
    """Knows every colour's object.

    Args:
        objects: What to look for; their hues must differ by 16 degrees or more and none may be grey.

    Raises:
        ConfigError: Two objects look alike, or one is grey, and colour cannot find it.
    """

    def __init__(self, objects: tuple[ObjectInfo, ...]) -> None:
        self._names = tuple(o.name for o in objects)
        vivid = np.array([_chroma(o.rgb[None])[0] for o in objects])
        _require_distinct(self._names, vivid)
        self._table = _classified(vivid)

    def blobs(self, image: Image, min_area_px: float) -> Mapping[str, Blob]:
        """Returns the blob of every object that shows, by name.

        Args:
            image: RGB, shape (H, W, 3).
            min_area_px: Smaller regions are taken for noise [px].
        """
        packed = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2BGR565).view(np.uint16)[..., 0]
        labels = self._table[packed]
        present = np.flatnonzero(np.bincount(labels.ravel(), minlength=len(self._names) + 1)[1:] >= min_area_px)
        found = {self._names[i]: _blob(labels == i + 1, min_area_px) for i in present}
        return {name: blob for name, blob in found.items() if blob is not None}


def _chroma(rgb: Floats) -> Floats:
    """Returns chromaticity minus grey, shape (M, 3), of colours (M, 3); zero for black."""
    total = rgb.sum(axis=1, keepdims=True)
    return np.where(total > 0, rgb / np.maximum(total, 1e-9) - _GREY, 0.0)


def _require_distinct(names: tuple[str, ...], vivid: Floats) -> None:
    length = np.linalg.norm(vivid, axis=1)
    for name, saturation in zip(names, length, strict=True):
        if saturation < _MIN_SATURATION:
            raise ConfigError(
                f"object {name!r} is nearly grey (saturation {saturation:.3f}, at least {_MIN_SATURATION} is needed); "
                "the colour tracker cannot find it, give it a vivid colour"
            )
    hue = vivid / length[:, None]
    angle = np.degrees(np.arccos(np.clip(hue @ hue.T, -1, 1)))
    for i, j in np.argwhere(np.triu(angle < _MIN_HUE_DEG, k=1)):
        raise ConfigError(
            f"objects {names[i]!r} and {names[j]!r} differ by {angle[i, j]:.0f} degrees of hue; the colour tracker "
            f"needs {_MIN_HUE_DEG:.0f}, give them colours further apart"
        )


def _classified(vivid: Floats) -> NDArray[np.uint8]:
    """Returns the label (0 none, i + 1 object i) of each of the 65536 colours of 5, 6 and 5 bits."""
    code = np.arange(65536)
    rgb = np.stack([(code >> 11) * 8 + 4, ((code >> 5) & 63) * 4 + 2, (code & 31) * 8 + 4], axis=1).astype(np.float64)
    chroma = _chroma(rgb)
    length = np.linalg.norm(vivid, axis=1)
    along = chroma @ (vivid / length[:, None] ** 2).T
    across = np.linalg.norm(chroma[:, None] - along[..., None] * vivid, axis=2) / length
    cosine = along / np.maximum(np.hypot(along, across), 1e-9)
    best = np.argmax(cosine, axis=1)
    rows = np.arange(len(code))
    hit = (along[rows, best] > 0.5) & (cosine[rows, best] > 0.9) & (rgb.max(axis=1) > _DARKEST)
    return np.where(hit, best + 1, 0).astype(np.uint8)


def _blob(mask: NDArray[np.bool_], min_area_px: float) -> Blob | None:
    outlines, _ = cv2.findContours(mask.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    pieces = [(cv2.moments(o), o[:, 0]) for o in outlines]
    areas = np.array([m["m00"] + len(o) / 2 for m, o in pieces])  # moments cut half a pixel off all round
    largest = int(np.argmax(areas))
    if areas[largest] < min_area_px:
        return None
    kept = [i for i in range(len(pieces)) if _belongs(pieces[largest][1], pieces[i][1], areas[i] / areas[largest])]
    outline = np.concatenate([pieces[i][1] for i in kept])
    return _measured(outline, areas[kept], np.array([pieces[i][1].mean(axis=0) for i in kept]), mask.shape)


def _belongs(main: Ints, other: Ints, share: float) -> bool:
    """Whether a smaller region is a part of the main one that something in front has cut off."""
    if share < 0.05:
        return False
    low, high = main.min(axis=0), main.max(axis=0)
    reach = (high - low).max()
    middle = (low + high) / 2
    return bool((np.abs(other.mean(axis=0) - middle) <= reach).all())


def _measured(outline: Ints, areas: Floats, centres: Floats, shape: tuple[int, ...]) -> Blob:
    edge = (outline == 0).any(axis=1) | (outline == np.array([shape[1] - 1, shape[0] - 1])).any(axis=1)
    return Blob(
        outline=outline[~edge].astype(np.float64),
        centre=(centres * areas[:, None]).sum(axis=0) / areas.sum(),
        area_px=float(areas.sum()),
        clipped=float(edge.mean()),
    )
