"""Coloured regions of a camera image: which pixels look like which object. Used by `bridge.tracker`.

A colour is reduced to its share of red, green and blue, which shading does not change; what counts is its direction
away from grey and how far it goes that way. A pixel at least half as saturated as an object, and nearer to its hue than
to any other object's, is the object's. The table is what most of the rest of an image looks like.
Source: chromaticity coordinates r, g, b = (R, G, B) / (R + G + B).
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from core.arrays import Bools, Floats, Image, Ints
from core.errors import ConfigError
from core.tasks import ObjectInfo

_GREY = np.full(3, 1.0 / 3.0)
_DARKEST = 40.0
"""Brightest channel below which a pixel has no colour worth trusting [0..255]."""
_MIN_SATURATION = 0.06
"""Distance from grey that an object needs, in chromaticity."""
_MIN_HUE_DEG = 16.0
"""Angle between the hues of two objects that can still be told apart."""
_MOST_PIECES = 6
"""An object is cut into no more pieces than this; the rest is noise."""
_TABLE_SPREAD = 28.0
"""Most that a channel of the table differs from the table's median, by shading [0..255]."""
_DARK = 64
"""Brightest channel of what is too dark to be the table: the hand, the room behind [0..255]."""
_LEAST_TABLE = 0.08
"""An image in which less than this share is neither dark nor vividly coloured shows no table to go by."""
_TABLE_STRIDE = 6
"""Every so many pixels, across and down, tell what the table looks like."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """The pixels of one object in one image."""

    outline: Floats
    """Outermost pixels that are not cut off by the image border, shape (M, 2) [px]."""
    bare: Bools
    """Whether an outline pixel borders the table, so that nothing can cover the object there, shape (M,)."""
    centre: Floats
    """Centroid of the area inside the outline, shape (2,) [px]."""
    area_px: float
    """Area inside the outline."""
    clipped: float
    """Share of the outline that lies on the image border, [0, 1]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """What an image shows."""

    blobs: Mapping[str, Blob]
    """By name of the object; absent when it does not show."""
    table: NDArray[np.uint8]
    """255 where the table shows, else 0, shape (H, W)."""
    labels: NDArray[np.uint8]
    """Whose colour each pixel has, shape (H, W): 0 nobody's, else 1 + the object's place in `names`."""
    names: tuple[str, ...]
    """Every object that is looked for."""

    def bare(self, names: Container[str], row: Ints, column: Ints) -> Bools:
        """Returns which of the pixels (M,) show the table or one of the objects `names`, shape (M,)."""
        floors = np.array([False, *(n in names for n in self.names)])
        return np.asarray((self.table[row, column] > 0) | floors[self.labels[row, column]])


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

    def look(self, image: Image, min_area_px: float) -> Picture:
        """Returns the blob of every object that shows, and where the table does.

        Args:
            image: RGB, shape (H, W, 3).
            min_area_px: Smaller regions are taken for noise [px].
        """
        image = np.ascontiguousarray(image)
        labels = np.take(self._table, cv2.cvtColor(image, cv2.COLOR_RGB2BGR565).view(np.uint16)[..., 0])
        table = _table(image, labels)
        beside = cv2.dilate(table, np.ones((3, 3), np.uint8))
        masks = {name: (labels == i + 1).view(np.uint8) for i, name in enumerate(self._names)}
        found = {n: _blob(m, beside, min_area_px) for n, m in masks.items() if cv2.countNonZero(m) >= min_area_px}
        blobs = {name: blob for name, blob in found.items() if blob is not None}
        return Picture(blobs=blobs, table=table, labels=labels, names=self._names)


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


def _table(image: Image, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    few = (slice(None, None, _TABLE_STRIDE),) * 2
    sample = image[few].reshape(-1, 3)
    unclaimed = sample[(labels[few].ravel() == 0) & (sample.max(axis=1) > _DARK)]
    if len(unclaimed) < _LEAST_TABLE * len(sample):
        return np.zeros(labels.shape, np.uint8)
    usual = np.median(unclaimed, axis=0)
    low, high = np.maximum(usual - _TABLE_SPREAD, 0.0), np.minimum(usual + _TABLE_SPREAD, 255.0)
    return np.asarray(cv2.inRange(image, low, high), dtype=np.uint8)


def _blob(mask: NDArray[np.uint8], beside: NDArray[np.uint8], min_area_px: float) -> Blob | None:
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outlines = sorted(outlines, key=len)[-_MOST_PIECES:]
    pieces = [(cv2.moments(o), o[:, 0]) for o in outlines]
    areas = np.array([m["m00"] + len(o) / 2 for m, o in pieces])  # moments cut half a pixel off all round
    largest = int(np.argmax(areas))
    if areas[largest] < min_area_px:
        return None
    main = pieces[largest][1]
    kept = [i for i, (_, o) in enumerate(pieces) if o is main or _belongs(main, o, areas[i] / areas[largest])]
    outline = np.concatenate([pieces[i][1] for i in kept])
    return _measured(outline, areas[kept], np.array([pieces[i][1].mean(axis=0) for i in kept]), beside)


def _belongs(main: Ints, other: Ints, share: float) -> bool:
    """Whether a smaller region is a part of the main one that something in front has cut off."""
    if share < 0.05:
        return False
    low, high = main.min(axis=0), main.max(axis=0)
    reach = (high - low).max()
    middle = (low + high) / 2
    return bool((np.abs(other.mean(axis=0) - middle) <= reach).all())


def _measured(outline: Ints, areas: Floats, centres: Floats, beside: NDArray[np.uint8]) -> Blob:
    last = np.array([beside.shape[1] - 1, beside.shape[0] - 1])
    whole = ((outline > 0) & (outline < last)).all(axis=1)
    kept = outline[whole]
    return Blob(
        outline=kept.astype(np.float64),
        bare=beside[kept[:, 1], kept[:, 0]] > 0,
        centre=(centres * areas[:, None]).sum(axis=0) / areas.sum(),
        area_px=float(areas.sum()),
        clipped=float(1.0 - whole.mean()),
    )
