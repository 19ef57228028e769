"""The report: self-contained, honest about what it shows, and small. Its results here are made up, seeded."""

import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.episodes import Outcome
from core.errors import ArtifactError, ContractError
from core.failures import FailureMode
from core.flow import Phase
from regrasp.evaluation import Alarm, ArmName, Campaign, EpisodeResult, InferenceTimes, PhaseStart
from regrasp.evaluation_log import LOG_NAME, append_result, open_log
from regrasp.figures import Evaluation, evaluate
from regrasp.report import write_report
from regrasp.report_clips import (
    BAR_PX,
    CLIPS_NAME,
    WIDTH_PX,
    Clip,
    load_clips,
    pair_clips,
    save_clip,
    stills,
    telling_seed,
)
from regrasp.report_picture import write_picture
from regrasp.report_table import format_table
from regrasp.report_views import axis_ticks

MODES = (
    FailureMode.MISSED_GRASP,
    FailureMode.DROP,
    FailureMode.TARGET_MOVED,
    FailureMode.WRONG_OBJECT,
    FailureMode.COLLISION,
)
ALONE = dict(zip(MODES, (0.45, 0.5, 0.35, 0.1, 0.55), strict=True))
RECOVERED = dict(zip(MODES, (0.95, 0.9, 1.0, 0.85, 0.9), strict=True))
LIMIT_S = 9.0


def made_up_campaign(seeds: int = 10, tracker: str = "image") -> tuple[Campaign, tuple[EpisodeResult, ...]]:
    """Returns plausible results, none of them measured: `seeds` nominal and `seeds` injected episodes per mode."""
    campaign = Campaign(
        task="fruit_on_plate", policy="pi0-nano@1a2b3c4d", tracker=tracker, gap="none", episodes=seeds, seed=20_000,
        modes=MODES, config_hash="9f8e7d6c5b4a",
    )  # fmt: skip
    rng = np.random.default_rng(7)
    results = []
    for seed in range(20_000, 20_000 + seeds):
        for mode in (None, *MODES):
            results += [_base(seed, mode, rng), _recovery(seed, mode, rng)]
    return campaign, tuple(results)


def _episode(seed: int, mode: FailureMode | None, arm: ArmName) -> EpisodeResult:
    return EpisodeResult(
        arm=arm, seed=seed, injected=mode, instruction="put the apple on the plate", success=True, q_score=1.0,
        steps=60, duration_s=3.0, claimed=Outcome.SUCCESS, injected_at_s=None, alarms=(), diagnosed=None,
        phases=(PhaseStart(t_s=0.0, phase=Phase.RUNNING),), attempts=0, recovery_s=None,
        episode_file=f"episodes/{arm}-{mode or 'nominal'}-{seed}.mcap",
        inference=InferenceTimes(chunks=12, p50_s=0.0074, p95_s=0.0121),
    )  # fmt: skip


def _base(seed: int, mode: FailureMode | None, rng: np.random.Generator) -> EpisodeResult:
    wins = mode is None or rng.random() < ALONE[mode]
    end_s = rng.uniform(2.4, 3.6) if wins else LIMIT_S
    return replace(
        _episode(seed, mode, ArmName.BASE), success=wins, q_score=1.0 if wins else 0.5, duration_s=end_s,
        steps=round(end_s * 20), claimed=Outcome.SUCCESS if wins else Outcome.FAILURE,
        injected_at_s=None if mode is None else 1.1,
    )  # fmt: skip


def _recovery(seed: int, mode: FailureMode | None, rng: np.random.Generator) -> EpisodeResult:
    plain = replace(_episode(seed, mode, ArmName.RECOVERY), duration_s=rng.uniform(2.4, 3.6))
    if mode is None:
        return plain
    at_s, named = rng.uniform(0.6, 1.9), mode if rng.random() < 0.9 else FailureMode.MISSED_GRASP
    alarm_s, wins, attempts = at_s + rng.uniform(0.1, 0.8), rng.random() < RECOVERED[mode], int(rng.integers(1, 3))
    phases, t_s = [PhaseStart(t_s=0.0, phase=Phase.RUNNING)], alarm_s
    for _ in range(attempts):
        phases.append(PhaseStart(t_s=t_s, phase=Phase.DIAGNOSING))
        phases.append(PhaseStart(t_s=t_s + 0.15, phase=Phase.RECOVERING))
        t_s += rng.uniform(0.8, 1.8)
    phases.append(PhaseStart(t_s=t_s, phase=Phase.RUNNING if wins else Phase.HOLDING))
    end_s = min(LIMIT_S, t_s + rng.uniform(0.9, 1.6)) if wins else LIMIT_S
    return replace(
        plain, success=wins, q_score=1.0 if wins else 0.75, duration_s=end_s, attempts=attempts, injected_at_s=at_s,
        alarms=(Alarm(t_s=alarm_s, mode=FailureMode.UNKNOWN),), diagnosed=named, phases=tuple(phases),
        recovery_s=t_s - alarm_s, claimed=Outcome.SUCCESS if wins else Outcome.FAILURE, steps=round(end_s * 20),
    )  # fmt: skip


def made_up_clip(result: EpisodeResult, px: int = 96, fps: float = 10.0) -> Clip:
    """Returns a drawn ball on a drawn table that ends on the plate when the result is a success."""
    count = round(result.duration_s * fps)
    frames = np.full((count, px, px, 3), (206, 197, 180), np.uint8)
    y, x = np.mgrid[:px, :px]
    frames[:, (y - px * 0.7) ** 2 + (x - px * 0.72) ** 2 < (px * 0.16) ** 2] = (238, 240, 244)
    for i in range(count):
        share = min(1.0, 1.15 * i / count) * (1.0 if result.success else 0.5)
        centre = px * (0.3 + 0.42 * share), px * (0.65 + 0.05 * share - 0.35 * np.sin(np.pi * share))
        frames[i, (x - centre[0]) ** 2 + (y - centre[1]) ** 2 < (px * 0.06) ** 2] = (200, 40, 40)
    starts = result.phases
    phases = tuple([p.phase for p in starts if p.t_s <= i / fps][-1] for i in range(count))
    return Clip(
        arm=result.arm, seed=result.seed, mode=FailureMode(result.injected or ""), frames=frames, phases=phases,
        fps=fps, loop_s=LIMIT_S,
    )  # fmt: skip


class _Page(HTMLParser):
    void = frozenset({"meta", "img", "br", "hr", "link", "input"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.void:
            self.open.append(tag)
        self.scripts += tag == "script"
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.void:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def results() -> tuple[EpisodeResult, ...]:
    return made_up_campaign()[1]


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    return evaluate(*made_up_campaign())


@pytest.fixture(scope="module")
def clips_dir(results: tuple[EpisodeResult, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for result in results:
        if result.injected in MODES[:2]:
            save_clip(made_up_clip(result, px=32, fps=2.0), folder)
    return folder


def read_page(path: Path) -> tuple[str, _Page]:
    text = path.read_text(encoding="utf-8")
    page = _Page()
    page.feed(text)
    return text, page


def test_report_is_well_formed_and_asks_the_network_for_nothing(results, evaluation, clips_dir, tmp_path):
    text, page = read_page(write_report(results, evaluation, load_clips(clips_dir), tmp_path))
    assert page.open == []
    assert page.scripts == 0
    assert page.links
    assert all(link.startswith("data:image/webp;base64,") for link in page.links)
    assert not re.search(r"url\(|@import", text)


def test_report_says_simulated_and_which_tracker_in_its_title(results, evaluation, tmp_path):
    text, _ = read_page(write_report(results, evaluation, [], tmp_path))
    title = re.search(r"<title>(.*?)</title>", text)
    assert title is not None
    assert "SIMULATED" in title[1]
    assert "tracker image" in title[1]
    assert "Ablation" not in text


def test_report_warns_when_the_tracker_read_the_truth(tmp_path):
    campaign, results = made_up_campaign(seeds=2, tracker="truth")
    text, _ = read_page(write_report(results, evaluate(campaign, results), [], tmp_path))
    assert "Ablation" in text
    assert "Nothing in the loop read" not in text


def test_report_shows_k_n_and_interval_of_every_rate(results, evaluation, tmp_path):
    text, _ = read_page(write_report(results, evaluation, [], tmp_path))
    for arm in evaluation.arms:
        for rate in (arm.nominal, arm.injected, *(r for _, r in arm.by_mode)):
            low, high = rate.ci95
            assert f"{rate.k}/{rate.n}" in text
            assert f"{100 * low:.0f} to {100 * high:.0f} %" in text


def test_report_lists_every_episode_that_recovery_lost(results, evaluation, tmp_path):
    text, _ = read_page(write_report(results, evaluation, [], tmp_path))
    lost = [r for r in results if r.arm == ArmName.RECOVERY and not r.success]
    assert lost
    assert all(r.episode_file in text for r in lost)


def test_report_counts_successes_the_loop_only_claimed(results, evaluation, tmp_path):
    wrong = [r if r.success else replace(r, claimed=Outcome.SUCCESS) for r in results]
    text, _ = read_page(write_report(wrong, evaluation, [], tmp_path))
    lost = sum(r.arm == ArmName.RECOVERY and not r.success for r in results)
    assert f"In {lost} episode(s) the loop claimed a success" in text


def test_report_escapes_what_it_is_given(results, evaluation, tmp_path):
    hostile = replace(evaluation, campaign=replace(evaluation.campaign, policy="<script>x</script>"))
    _, page = read_page(write_report(results, hostile, [], tmp_path))
    assert page.scripts == 0


def test_report_of_an_evaluation_killed_at_once_still_reads(tmp_path):
    campaign, _ = made_up_campaign()
    text, page = read_page(write_report([], evaluate(campaign, []), [], tmp_path))
    assert page.open == []
    assert "no episodes" in text
    assert "has been run yet" in text
    assert not re.search(r"\bnan\b", text.lower())


def test_clips_are_paired_where_base_failed_and_recovery_did_not(results, clips_dir):
    pairs = pair_clips(load_clips(clips_dir), results)
    assert [p.base.mode for p in pairs] == list(MODES[:2])
    for pair in pairs:
        assert pair.base.seed == pair.recovery.seed
        assert (pair.base_result.success, pair.recovery_result.success) == (False, True)


def test_telling_seed_is_the_first_that_fails_alone_and_is_recovered(results):
    for mode in MODES:
        seed = telling_seed(mode, results)
        outcome = {(r.arm, r.seed): r.success for r in results if r.injected == mode}
        told = [s for a, s in sorted(outcome) if a == ArmName.BASE and not outcome[a, s] and outcome["recovery", s]]
        assert seed == told[0]
    assert telling_seed(FailureMode.JAM, results) is None


def test_clips_beyond_the_size_budget_are_left_out_and_the_report_says_so(results, evaluation, clips_dir, tmp_path):
    heavy = [replace(c, webp=c.webp + bytes(2_000_000)) for c in load_clips(clips_dir)]
    text, page = read_page(write_report(results, evaluation, heavy, tmp_path))
    assert "1 further pair(s) left out" in text
    assert len(text) < 8_000_000
    assert len(page.links) == 4


def test_clip_keeps_its_loop_length_and_shows_the_phase(results, tmp_path):
    result = next(r for r in results if r.injected is not None and r.arm == ArmName.RECOVERY)
    path = save_clip(made_up_clip(result, px=48, fps=5.0), tmp_path)
    with Image.open(path) as film:
        length_ms = 0
        for i in range(film.n_frames):
            film.seek(i)
            film.load()
            length_ms += film.info["duration"]
    assert length_ms == pytest.approx(1000 * LIMIT_S, abs=1)
    last = stills(load_clips(tmp_path)[0], 2)[-1]
    assert last.shape == (WIDTH_PX + BAR_PX, WIDTH_PX, 3)
    first_colour = last[-3, 2].astype(int)
    assert np.abs(first_colour - (147, 168, 190)).max() < 25


def test_picture_for_the_readme_is_drawn_from_the_clips_of_a_run(results, clips_dir, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(clips_dir, run / CLIPS_NAME)
    open_log(run / LOG_NAME, made_up_campaign()[0])
    for result in results:
        append_result(run / LOG_NAME, result)
    write_picture(run, tmp_path / "docs" / "picture.webp")
    with Image.open(tmp_path / "docs" / "picture.webp") as picture:
        assert picture.width > 6 * WIDTH_PX


def test_picture_of_a_run_without_clips_says_what_to_do(tmp_path):
    open_log(tmp_path / LOG_NAME, made_up_campaign()[0])
    with pytest.raises(ArtifactError, match="make run"):
        write_picture(tmp_path, tmp_path / "picture.webp")


def test_clip_without_a_phase_for_every_frame_is_refused():
    with pytest.raises(ContractError, match="one phase a frame"):
        Clip(
            arm=ArmName.BASE, seed=1, mode=FailureMode.DROP, frames=np.zeros((3, 8, 8, 3), np.uint8),
            phases=(Phase.RUNNING,), fps=10.0, loop_s=1.0,
        )  # fmt: skip


def test_foreign_file_among_the_clips_is_named(tmp_path):
    (tmp_path / "holiday.webp").write_bytes(b"x")
    with pytest.raises(ArtifactError, match=r"holiday\.webp"):
        load_clips(tmp_path)


def test_table_fits_a_terminal_and_says_simulated(evaluation):
    table = format_table(evaluation)
    assert "SIMULATED" in table
    assert "tracker image" in table
    for mode in MODES:
        assert mode in table
    assert max(len(line) for line in table.splitlines()[1:]) <= 96


@pytest.mark.parametrize("axis_s", [1.0, 3.0, 9.0, 41.0, 700.0])
def test_axis_has_few_ticks_and_starts_at_zero(axis_s):
    ticks = axis_ticks(axis_s)
    assert ticks[0] == (0.0, "0 s")
    assert 2 <= len(ticks) <= 9
    assert all(0 <= x <= 100 for x, _ in ticks)
