"""Short looping clips of an episode, small enough to live inside the report. Written by `run` and `eval`.

A clip is one animated WebP file; below the camera image runs a bar in the colours of the phases lived so far.
"""

import io
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image as Pictures

from core.arrays import Image
from core.errors import ArtifactError, ContractError
from core.failures import FailureMode
from core.flow import Phase
from regrasp.evaluation import ArmName, EpisodeResult

CLIPS_NAME = "clips"
"""Folder of the clips inside the output folder."""
_NOMINAL = "nominal"
WIDTH_PX = 192
"""Width of a clip [px]."""
BAR_PX = 8
"""Height of the phase bar [px]."""
QUALITY = 70
"""WebP quality, 0..100: a clip of 9 s at 10 frames a second comes to 40 to 70 kB."""

PHASE_RGB = {
    Phase.RUNNING: (147, 168, 190),
    Phase.DIAGNOSING: (233, 162, 59),
    Phase.RECOVERING: (23, 99, 199),
    Phase.HOLDING: (194, 65, 12),
    Phase.OPERATOR: (122, 63, 160),
    Phase.STOPPED: (31, 35, 40),
}
"""Colour of every phase, the same in clips and timelines; told apart without red and green."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """What one camera saw of an episode, before it is encoded."""

    arm: ArmName
    seed: int
    mode: FailureMode | None
    """Mode injected, None when nothing was."""
    frames: Image
    """Shape (F, H, W, 3) uint8 RGB."""
    phases: tuple[Phase, ...]
    """Phase at each frame, F long."""
    fps: float
    """Frames a second of episode time [1/s]."""
    loop_s: float
    """Length of the loop [s]; the last frame stays until then, so that clips side by side keep in step."""

    def __post_init__(self) -> None:
        if self.frames.ndim != 4 or self.frames.dtype != np.uint8 or len(self.phases) != len(self.frames):
            raise ContractError(
                f"clip of seed {self.seed}: frames {self.frames.dtype} {self.frames.shape} with {len(self.phases)} "
                "phases; expected uint8 (F, H, W, 3) and one phase a frame"
            )
        if not len(self.frames) or self.fps <= 0:
            raise ContractError(f"clip of seed {self.seed}: {len(self.frames)} frames at {self.fps} fps; send some")


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedClip:
    """A clip as it lies on disk."""

    arm: ArmName
    seed: int
    mode: FailureMode | None
    webp: bytes

    @property
    def data_uri(self) -> str:
        """The clip as a URI that needs no file."""
        return _data_uri(self.webp)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipPair:
    """The same seed and failure, base alone beside recovery, with what became of both."""

    base: EncodedClip
    recovery: EncodedClip
    base_result: EpisodeResult
    recovery_result: EpisodeResult

    @property
    def size(self) -> int:
        """Bytes of both clips."""
        return len(self.base.webp) + len(self.recovery.webp)


def save_clip(clip: Clip, folder: Path) -> Path:
    """Encodes a clip into `folder` as `<mode or "nominal">-<seed>-<arm>.webp` and returns the file."""
    path = folder / f"{clip.mode or _NOMINAL}-{clip.seed}-{clip.arm}.webp"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_encode(clip))
    return path


def load_clips(folder: Path) -> tuple[EncodedClip, ...]:
    """Returns every clip in `folder`, in order of mode, seed and arm; none when there is no such folder.

    Raises:
        ArtifactError: A WebP file there is not named as `save_clip` names it.
    """
    return tuple(_load(path) for path in sorted(folder.glob("*.webp")))


def pair_clips(clips: Sequence[EncodedClip], results: Sequence[EpisodeResult]) -> tuple[ClipPair, ...]:
    """Returns for each mode the most telling pair there is: first base failed and recovery did not, lowest seed first.

    Args:
        clips: Clips of both arms.
        results: Episodes; clips without a result are left out.
    """
    found = {r.key: r for r in results}
    by_key = {(c.arm, c.seed, c.mode): c for c in clips}
    best: dict[FailureMode, ClipPair] = {}
    for pair in sorted(_pairs(by_key, found), key=_interest):
        if pair.base.mode is not None:
            best.setdefault(pair.base.mode, pair)
    return tuple(best[m] for m in FailureMode if m in best)


def telling_seed(mode: FailureMode, results: Sequence[EpisodeResult]) -> int | None:
    """Returns the seed whose pair of episodes says most about `mode`: base failed, recovery did not, lowest seed.

    Args:
        mode: The injected mode.
        results: Episodes that can be shown; a seed counts when both arms lived it. None when there is no such seed.
    """
    base = {r.seed: r for r in results if r.arm == ArmName.BASE and r.injected == mode}
    pairs = [(r, base[r.seed]) for r in results if r.arm == ArmName.RECOVERY and r.injected == mode and r.seed in base]
    return min(((not won.success, alone.success, won.seed) for won, alone in pairs), default=(0, 0, None))[2]


def stills(clip: EncodedClip, n: int) -> list[Image]:
    """Returns `n` frames spread evenly over a clip, each (H, W, 3) uint8, for paper and for the README."""
    with Pictures.open(io.BytesIO(clip.webp)) as film:
        frames = []
        for index in np.linspace(0, getattr(film, "n_frames", 1) - 1, n).round().astype(int):
            film.seek(int(index))
            frames.append(np.asarray(film.convert("RGB")))
    return frames


def filmstrip_uri(clip: EncodedClip, n: int = 4) -> str:
    """Returns `n` stills side by side as one image URI."""
    out = io.BytesIO()
    Pictures.fromarray(np.concatenate(stills(clip, n), axis=1)).save(out, "WEBP", quality=QUALITY)
    return _data_uri(out.getvalue())


def _encode(clip: Clip) -> bytes:
    frames = [_frame(clip, i) for i in range(len(clip.frames))]
    times_ms = [round(1000 / clip.fps)] * len(frames)
    times_ms[-1] += max(0, round(1000 * clip.loop_s) - sum(times_ms))
    out = io.BytesIO()
    frames[0].save(
        out, "WEBP", save_all=True, append_images=frames[1:], duration=times_ms, loop=0, quality=QUALITY, method=4
    )
    return out.getvalue()


def _frame(clip: Clip, index: int) -> Pictures.Image:
    picture = Pictures.fromarray(clip.frames[index])
    height = round(picture.height * WIDTH_PX / picture.width)
    canvas = Pictures.new("RGB", (WIDTH_PX, height + BAR_PX), (235, 238, 242))
    canvas.paste(picture.resize((WIDTH_PX, height), Pictures.Resampling.LANCZOS), (0, 0))
    for i in range(index + 1):
        left, right = (round(WIDTH_PX * min(1.0, j / (clip.fps * clip.loop_s))) for j in (i, i + 1))
        canvas.paste(PHASE_RGB[clip.phases[i]], (left, height + 1, right, height + BAR_PX))
    return canvas


def _load(path: Path) -> EncodedClip:
    try:
        mode, seed, arm = path.stem.split("-")
        injected = None if mode == _NOMINAL else FailureMode(mode)
        return EncodedClip(arm=ArmName(arm), seed=int(seed), mode=injected, webp=path.read_bytes())
    except ValueError as error:
        raise ArtifactError(f"{path} is not named <mode>-<seed>-<arm>.webp; remove it from the clips folder") from error


def _pairs(
    clips: dict[tuple[ArmName, int, FailureMode | None], EncodedClip],
    results: dict[tuple[str, int, str], EpisodeResult],
) -> list[ClipPair]:
    pairs = []
    for (arm, seed, mode), clip in clips.items():
        other, told = (ArmName.RECOVERY, seed, mode), mode or ""
        if arm == ArmName.BASE and other in clips and (arm, seed, told) in results and (*other[:2], told) in results:
            first, second = results[arm, seed, told], results[*other[:2], told]
            pairs.append(ClipPair(base=clip, recovery=clips[other], base_result=first, recovery_result=second))
    return pairs


def _interest(pair: ClipPair) -> tuple[bool, bool, int]:
    return not pair.recovery_result.success, pair.base_result.success, pair.base.seed


def _data_uri(webp: bytes) -> str:
    return "data:image/webp;base64," + b64encode(webp).decode()
