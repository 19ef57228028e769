"""From an `Observation` to the network's numbers and back: images, words, proprioception, actions.

Everything here is driven by a `Processing` value read from a checkpoint's manifest, so that pi0-nano (two 96 px images,
word tokenizer, 8 and 7 numbers) and a full-size pi0 (224 px padded images, gemma tokenizer, 32 padded numbers) go the
same way. Called by `bridge.pi0.policy` at run time and by `regrasp` when demonstrations are encoded.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from core.arrays import Bools, Floats, Image, Ints, floats
from core.errors import ConfigError, ContractError

PAD, IMAGE, UNKNOWN = "<pad>", "<image>", "<unknown>"
"""The first three entries, 0 to 2, of a word tokenizer."""
PAD_ID = 0
"""Id of padding, in our word tokenizer as in gemma's."""

Numbers = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Affine:
    """Statistics of one vector: normalised = (value - offset) / scale, in the value's own units."""

    offset: Floats
    """Shape (S,)."""
    scale: Floats
    """Shape (S,), above 0."""

    def __post_init__(self) -> None:
        offset = floats("offset", self.offset, (None,))
        scale = floats("scale", self.scale, offset.shape)
        if (scale <= 0).any():
            raise ContractError(f"scale {scale} must be above 0 in every dim")
        object.__setattr__(self, "offset", offset)
        object.__setattr__(self, "scale", scale)

    def normalise(self, value: Floats) -> Floats:
        """Returns `value` (..., S) without unit."""
        return (value - self.offset) / self.scale

    def denormalise(self, number: Floats) -> Floats:
        """Returns numbers (..., S) in the value's units."""
        return number * self.scale + self.offset

    def padded(self, value: Floats, width: int) -> Numbers:
        """Returns normalised `value` (..., S) with zeros up to `width`, float32."""
        spare = [(0, 0)] * (value.ndim - 1) + [(0, width - value.shape[-1])]
        return np.pad(self.normalise(value), spare).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Processing:
    """How a checkpoint wants its inputs; part of its manifest."""

    cameras: tuple[str, ...]
    """Names, in the order of the network's image slots."""
    needs_all_cameras: bool
    """Whether an observation without one of them is refused; pi0 itself can do without some."""
    image_px: int
    """Height and width the network takes [px]."""
    fit: Literal["area", "pad"]
    """"area": square images, averaged down by pixel area. "pad": keep the aspect ratio, black border."""
    tokens_per_image: int
    image_token: int
    """Id that stands for one image token."""
    text_tokens: int
    """Room for the instruction [tokens]; a longer one is refused."""
    text_suffix: str
    """Put behind every instruction: nothing for pi0-nano, a line feed for pi0."""
    bos_token: int
    """Id put before the instruction, -1 for none."""
    state_width: int
    """The network's state dims; the rest is zero."""
    state: Affine
    action_width: int
    """The network's action dims; the rest is ignored."""
    action: Affine
    """Its size is the number of action dims used."""


def fit_image(image: Image, px: int, fit: str) -> Image:
    """Returns `image` (H, W, 3) as (px, px, 3), the same way at training and run time.

    Args:
        image: RGB.
        px: Wanted height and width [px].
        fit: See `Processing.fit`.

    Raises:
        ContractError: A non-square image for a network that was trained on square ones.
    """
    height, width = image.shape[:2]
    if (height, width) == (px, px):
        return image
    if fit == "pad":
        return _pad_image(image, px)
    if height != width:
        raise ContractError(f"image is {width}x{height} px; this policy takes square ones, crop the camera to a square")
    if height % px == 0:
        return average_blocks(image, height // px)
    return np.asarray(cv2.resize(image, (px, px), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def average_blocks(image: Image, factor: int) -> Image:
    """Returns an image (..., H, W, 3) averaged over blocks of `factor` x `factor` px, rounded half up."""
    *lead, height, width, channels = image.shape
    blocks = image.reshape(*lead, height // factor, factor, width // factor, factor, channels)
    total = blocks.sum(axis=(-4, -2), dtype=np.uint32)
    area = factor * factor
    return np.asarray((total + area // 2) // area, dtype=np.uint8)


def _pad_image(image: Image, px: int) -> Image:
    height, width = image.shape[:2]
    ratio = px / max(height, width)
    size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    inside = cv2.resize(image, size, interpolation=cv2.INTER_AREA if ratio < 1 else cv2.INTER_LINEAR)
    left, top = (px - size[0]) // 2, (px - size[1]) // 2
    canvas = np.zeros((px, px, 3), dtype=np.uint8)
    canvas[top : top + size[1], left : left + size[0]] = inside
    return canvas


def pixel_values(images: Image) -> Numbers:
    """Returns uint8 images (..., H, W, 3) as float32 (..., 3, H, W) in [-1, 1]."""
    return np.moveaxis(images, -1, -3).astype(np.float32) / np.float32(127.5) - np.float32(1.0)


def word_tokenizer(words: Iterable[str]) -> Tokenizer:
    """Returns a lower-case word tokenizer over `words`, after padding, image and unknown.

    Args:
        words: The vocabulary; order and repeats do not matter.
    """
    names = [PAD, IMAGE, UNKNOWN, *sorted({w.lower() for w in words})]
    tokenizer = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.Punctuation("removed")]
    )
    return tokenizer


def split_words(text: str) -> list[str]:
    """Returns the words of an instruction as the word tokenizer sees them."""
    return re.findall(r"\w+", text.lower())


class Words:
    """Instructions to token ids, with a refusal of what the policy was never taught.

    Args:
        tokenizer: A word tokenizer of ours, or any other, e.g. gemma's.
        processing: Where image tokens, suffix and padding go.
        object_words: Words that can name a graspable object; empty switches the refusal off, as for pi0.
    """

    def __init__(self, tokenizer: Tokenizer, processing: Processing, object_words: Sequence[str] = ()) -> None:
        self._tokenizer, self._processing = tokenizer, processing
        self._object_words = frozenset(w.lower() for w in object_words)
        self._known: dict[str, Ints] = {}

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """Every word it knows, sorted."""
        return tuple(sorted(w for w in self._tokenizer.get_vocab() if w not in (PAD, IMAGE, UNKNOWN)))

    def check(self, instruction: str) -> None:
        """Refuses an instruction with words it does not know, or without any word for an object.

        Raises:
            ConfigError: Naming the words and the vocabulary.
        """
        if not self._object_words:
            return
        known = set(self.vocabulary)
        words = split_words(instruction)
        unknown = [w for w in words if w not in known]
        if unknown or not self._object_words.intersection(words):
            problem = f"has words this policy never learned: {unknown}" if unknown else "names no object it can grasp"
            raise ConfigError(
                f"instruction {instruction!r} {problem}; objects: {', '.join(sorted(self._object_words))}; "
                f"all its words: {', '.join(self.vocabulary)}"
            )

    def encode(self, instruction: str) -> Ints:
        """Returns the instruction's ids, padded with 0, shape (text_tokens,).

        Raises:
            ConfigError: Unknown words, or more of them than fit.
        """
        found = self._known.get(instruction)
        if found is None:
            self.check(instruction)
            found = self._known[instruction] = self._encode(instruction)
        return found

    def _encode(self, instruction: str) -> Ints:
        spec = self._processing
        ids = list(self._tokenizer.encode(instruction + spec.text_suffix, add_special_tokens=False).ids)
        ids = ids if spec.bos_token < 0 else [spec.bos_token, *ids]
        if len(ids) > spec.text_tokens:
            raise ConfigError(f"instruction {instruction!r} has {len(ids)} tokens; at most {spec.text_tokens} fit")
        row = np.zeros(spec.text_tokens, dtype=np.int64)
        row[: len(ids)] = ids
        return row


def prefix_ids(text: Ints, present: Bools, spec: Processing) -> tuple[Ints, Ints]:
    """Returns input ids and attention mask (B, cameras * tokens_per_image + text_tokens).

    A missing camera's image tokens are padding: pi0 counts present cameras only.

    Args:
        text: Ids from `Words.encode`, shape (B, text_tokens).
        present: Which cameras are there, shape (B, C).
        spec: The checkpoint's processing.
    """
    room = len(spec.cameras) * spec.tokens_per_image
    shown = np.arange(room)[None, :] < (present.sum(1) * spec.tokens_per_image)[:, None]
    ids = np.concatenate([np.where(shown, spec.image_token, PAD_ID), text], axis=1)
    mask = np.concatenate([shown, text != PAD_ID], axis=1)
    return ids.astype(np.int64), mask.astype(np.int64)


def stack_images(images: Sequence[Mapping[str, Image]], spec: Processing) -> tuple[Image, Bools]:
    """Returns fitted images (B, C, px, px, 3) and which were there (B, C); a missing one is black.

    Args:
        images: One mapping by camera for each row.
        spec: The checkpoint's processing.

    Raises:
        ContractError: A camera that is needed is not there.
    """
    stack = np.zeros((len(images), len(spec.cameras), spec.image_px, spec.image_px, 3), dtype=np.uint8)
    present = np.zeros(stack.shape[:2], dtype=np.bool_)
    for row, shown in enumerate(images):
        for slot, camera in enumerate(spec.cameras):
            if camera in shown:
                stack[row, slot] = fit_image(shown[camera], spec.image_px, spec.fit)
                present[row, slot] = True
        if not present[row].any() or (spec.needs_all_cameras and not present[row].all()):
            raise ContractError(f"observation has images of {sorted(shown)}; the policy needs {list(spec.cameras)}")
    return stack, present
