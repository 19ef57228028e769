"""Camera images to bytes and back, for recordings and clips."""

import io
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as Pictures

from core.arrays import Image
from core.errors import ContractError
from core.flow import Step
from core.robots import EE_DELTA
from regrasp.evaluation import EpisodeResult
from regrasp.report_clips import Clip, save_clip, telling_seed
from runtime.record.reader import read_episode, read_frames

JPEG_QUALITY = 88
CLIP_CAMERA = "front"
CLIP_EVERY = 2
"""Every so many control steps become a frame: 10 frames a second."""


def jpeg(image: Image) -> bytes:
    """Returns an RGB image (H, W, 3) as JPEG."""
    sound, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not sound:
        raise ContractError(f"image {image.dtype} {image.shape} cannot be encoded as JPEG; send uint8 (H, W, 3)")
    return bytes(data)


def clip_episodes(out: Path, results: Sequence[EpisodeResult], folder: Path) -> None:
    """Turns the most telling recorded seed of every injected mode into clips, one for each arm.

    Args:
        out: Folder the recordings' names are relative to.
        results: Episodes, recorded or not.
        folder: Where the clips go.
    """
    recorded = [r for r in results if r.injected is not None and r.episode_file]
    for mode in dict.fromkeys(r.injected for r in recorded):
        seed = None if mode is None else telling_seed(mode, recorded)
        pair = [r for r in recorded if r.injected is mode and r.seed == seed]
        if not pair:
            continue
        loop_s = max(r.duration_s for r in pair) + 1.0
        for result in pair:
            save_clip(_clip(out, result, loop_s), folder)


def clip_failures(out: Path, results: Sequence[EpisodeResult], folder: Path) -> None:
    """Turns recorded episodes that failed into clips; arguments as of `clip_episodes`."""
    for result in results:
        if result.episode_file and not result.success:
            save_clip(_clip(out, result, result.duration_s + 1.0), folder)


def _clip(out: Path, result: EpisodeResult, loop_s: float) -> Clip:
    path = out / result.episode_file
    steps: Sequence[Step] = read_episode(path).steps
    frames = [np.asarray(Pictures.open(io.BytesIO(f.data)).convert("RGB")) for f in read_frames(path, CLIP_CAMERA)]
    shown = range(0, min(len(frames), len(steps)), CLIP_EVERY)
    return Clip(
        arm=result.arm,
        seed=result.seed,
        mode=result.injected,
        frames=np.stack([frames[i] for i in shown]),
        phases=tuple(steps[i].phase for i in shown),
        fps=1.0 / (CLIP_EVERY * EE_DELTA.dt_s),
        loop_s=loop_s,
    )
