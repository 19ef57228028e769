"""One picture of a run for the README: the same failure, base alone above recovered, frame by frame.

`make picture` calls it: `python -m regrasp.report_picture RUN_DIR PICTURE`.
"""

from pathlib import Path

import numpy as np
import tyro
from PIL import Image as Pictures
from PIL import ImageDraw, ImageFont

from core.errors import ArtifactError
from core.flow import Phase
from regrasp.evaluation import EpisodeResult
from regrasp.evaluation_log import LOG_NAME, read_log
from regrasp.report_clips import CLIPS_NAME, PHASE_RGB, ClipPair, EncodedClip, load_clips, pair_clips, stills
from regrasp.report_views import ARM_TITLES, words

FRAMES = 6
"""Stills a row."""
LABEL_PX = 150
"""Width of the column of words [px]."""
GAP_PX = 6
"""Between stills, and around everything [px]."""
_INK, _SOFT, _PAPER = (23, 32, 43), (90, 102, 117), (255, 255, 255)


def write_picture(run_dir: Path, picture: Path, /) -> None:
    """Draws the most telling pair of clips of a run.

    Args:
        run_dir: Output folder of `regrasp run` or `regrasp eval`.
        picture: File to write; its ending chooses the format, e.g. docs/picture.webp.
    """
    _, results = read_log(run_dir / LOG_NAME)
    pairs = pair_clips(load_clips(run_dir / CLIPS_NAME), results)
    if not pairs:
        raise ArtifactError(f"{run_dir / CLIPS_NAME} holds no clips of both arms; run `make run` first")
    best = min(pairs, key=lambda p: (not p.recovery_result.success, p.base_result.success))
    picture.parent.mkdir(parents=True, exist_ok=True)
    _draw(best).save(picture, quality=85)


def _draw(pair: ClipPair) -> Pictures.Image:
    rows = [_row(pair.base, pair.base_result), _row(pair.recovery, pair.recovery_result)]
    width, height = rows[0].width, sum(r.height + GAP_PX for r in rows) + 44
    canvas = Pictures.new("RGB", (width, height), _PAPER)
    for i, row in enumerate(rows):
        canvas.paste(row, (0, GAP_PX + i * (row.height + GAP_PX)))
    _legend(canvas, height - 30, f"simulated arm; injected failure: {words(pair.base.mode)}, seed {pair.base.seed}")
    return canvas


def _row(clip: EncodedClip, result: EpisodeResult) -> Pictures.Image:
    frames = [Pictures.fromarray(np.array(f)) for f in stills(clip, FRAMES)]
    step = frames[0].width + GAP_PX
    row = Pictures.new("RGB", (LABEL_PX + FRAMES * step, frames[0].height), _PAPER)
    for i, frame in enumerate(frames):
        row.paste(frame, (LABEL_PX + i * step, 0))
    pen, middle = ImageDraw.Draw(row), row.height // 2
    pen.text((GAP_PX * 2, middle - 24), ARM_TITLES[clip.arm], fill=_INK, font=ImageFont.load_default(19))
    end = f"{'success' if result.success else 'failure'}, {result.duration_s:.1f} s"
    pen.text((GAP_PX * 2, middle + 2), end, fill=_SOFT, font=ImageFont.load_default(16))
    return row


def _legend(canvas: Pictures.Image, top: int, text: str) -> None:
    pen, font, x = ImageDraw.Draw(canvas), ImageFont.load_default(15), LABEL_PX
    for phase in (Phase.RUNNING, Phase.DIAGNOSING, Phase.RECOVERING, Phase.HOLDING):
        pen.rectangle((x, top + 3, x + 16, top + 14), fill=PHASE_RGB[phase])
        pen.text((x + 22, top), phase, fill=_SOFT, font=font)
        x += 48 + round(pen.textlength(phase, font=font))
    pen.text((canvas.width - GAP_PX * 2, top), text, fill=_SOFT, font=font, anchor="ra")


if __name__ == "__main__":
    tyro.cli(write_picture)
