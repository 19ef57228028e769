"""`ColourTracker` on things of every kind, in drawn pictures: loose boxes, trays, a board and stains, a drawer."""

from dataclasses import replace

import numpy as np
import pytest

from bridge.tracker import ColourTracker
from core.calibration import CalibrationBundle
from core.tasks import Guide, ObjectInfo, TaskInfo
from core.transforms import Pose, quat_from_rotvec, quat_multiply
from drawn_cell import DOWN, HIGH, Stage, drawn_bundle, error_m


def thing(
    name: str,
    shape: str,
    size: tuple[float, ...],
    rgb: tuple[float, ...],
    *,
    loose: bool = False,
    vanishes: bool = False,
) -> ObjectInfo:
    return ObjectInfo(
        name=name, words=(), shape=shape, size_m=np.array(size), rgb=np.array(rgb), graspable=loose, vanishes=vanishes
    )


CARD = thing("card", "box", (0.032, 0.022, 0.007), (0.85, 0.06, 0.06), loose=True)
PEG = thing("peg", "box", (0.012, 0.012, 0.045), (0.95, 0.85, 0.05), loose=True)
TRAY = thing("tray", "disc", (0.08, 0.08, 0.006), (0.05, 0.72, 0.78))
DISH = thing("dish", "disc", (0.07, 0.07, 0.004), (0.62, 0.10, 0.66))
CARDS = TaskInfo(
    name="cards", objects=(CARD, PEG, TRAY, DISH), goal="", obstacle="", family="short_horizon", templates=(),
    subtasks=(), modes=(), episode_steps=100,
)  # fmt: skip
CARDS_AT = {
    "card": np.array([0.40, -0.15, 0.007]),
    "peg": np.array([0.50, -0.10, 0.045]),
    "tray": np.array([0.45, 0.18, 0.006]),
    "dish": np.array([0.52, 0.03, 0.004]),
}
ERASER = thing("eraser", "built", (0.025, 0.02, 0.02), (0.90, 0.08, 0.58), loose=True)
BOARD = thing("board", "box", (0.11, 0.13, 0.0025), (0.42, 0.56, 0.84))
STAIN = thing("stain", "built", (0.032, 0.013, 0.0005), (0.92, 0.84, 0.04), vanishes=True)
WIPING = replace(CARDS, objects=(ERASER, BOARD, STAIN))
WIPING_AT = {
    "eraser": np.array([0.38, -0.22, 0.02]),
    "board": np.array([0.43, 0.05, 0.0025]),
    "stain": np.array([0.45, 0.03, 0.005]),
}
OUT = np.array([-1.0, 0.0, 0.0])
CABINET = thing("cabinet", "built", (0.01, 0.07, 0.03), (0.10, 0.26, 0.85))
DRAWER = replace(
    thing("drawer", "built", (0.06, 0.06, 0.02), (0.62, 0.10, 0.66)),
    guide=Guide(parent="cabinet", offset_m=np.array([-0.08, 0.0, -0.006]), axis=OUT, range_m=(0.0, 0.13)),
    floor_m=-0.015,
)
BALL = thing("ball", "sphere", (0.019,) * 3, (0.85, 0.06, 0.06), loose=True)
TIDYING = replace(CARDS, objects=(CABINET, DRAWER, BALL))
TIDYING_AT = {
    "cabinet": np.array([0.62, 0.1, 0.03]),
    "drawer": np.array([0.54, 0.1, 0.024]),
    "ball": np.array([0.40, -0.15, 0.019]),
}


@pytest.fixture(scope="module")
def bundle() -> CalibrationBundle:
    return drawn_bundle()


@pytest.fixture
def cards(bundle: CalibrationBundle) -> tuple[Stage, ColourTracker]:
    return Stage(bundle, CARDS, CARDS_AT), ColourTracker(bundle, CARDS)


@pytest.fixture
def wiping(bundle: CalibrationBundle) -> tuple[Stage, ColourTracker]:
    return Stage(bundle, WIPING, WIPING_AT), ColourTracker(bundle, WIPING)


@pytest.fixture
def tidying(bundle: CalibrationBundle) -> tuple[Stage, ColourTracker]:
    return Stage(bundle, TIDYING, TIDYING_AT), ColourTracker(bundle, TIDYING)


@pytest.mark.parametrize("yaw", [0.0, 0.5, 1.2, -0.7])
def test_a_loose_box_is_found_at_every_heading(cards: tuple[Stage, ColourTracker], yaw: float) -> None:
    stage, tracker = cards
    stage.put("card", CARDS_AT["card"], yaw)
    assert error_m(tracker.track(stage.observe()), "card", CARDS_AT["card"]) < 0.002


@pytest.mark.parametrize("only", ["front", "wrist"])
def test_one_view_of_a_box_is_enough(cards: tuple[Stage, ColourTracker], only: str) -> None:
    stage, tracker = cards
    assert error_m(tracker.track(stage.observe((only,))), "peg", CARDS_AT["peg"]) < 0.004


def test_a_peg_that_was_knocked_over_is_found_lying(cards: tuple[Stage, ColourTracker]) -> None:
    stage, tracker = cards
    tracker.track(stage.observe())
    stage.turn_over("peg", (0.045, 0.012, 0.012))
    stage.put("peg", [0.49, -0.10, 0.012], 0.4)
    for _ in range(2):
        scene = tracker.track(stage.observe())
    assert error_m(scene, "peg", stage.at["peg"][0]) < 0.003


@pytest.mark.parametrize(("tray", "top"), [("tray", 0.012), ("dish", 0.008)])
def test_a_box_on_any_tray_is_found_at_its_height(cards: tuple[Stage, ColourTracker], tray: str, top: float) -> None:
    stage, tracker = cards
    x, y, _ = CARDS_AT[tray]
    stage.put("card", [x + 0.01, y - 0.02, top + 0.007], 0.3)
    assert error_m(tracker.track(stage.observe()), "card", stage.at["card"][0]) < 0.002


@pytest.mark.parametrize(("name", "above", "opening"), [("card", 0.0, 0.52), ("peg", 0.02, 0.286)])
def test_a_held_box_is_followed_through_the_air(
    cards: tuple[Stage, ColourTracker], name: str, above: float, opening: float
) -> None:
    stage, tracker = cards
    tracker.track(stage.observe())
    stage.close_on(name, above, opening)
    tracker.track(stage.observe())
    for by in ((0.0, 0.0, 0.02), (0.01, 0.02, 0.02), (0.02, 0.02, 0.02), (0.0, 0.02, 0.02)):
        pos = stage.move(name, by)
        assert error_m(tracker.track(stage.observe()), name, pos) < 0.004


def test_a_peg_that_shifts_along_the_pads_is_found_shifted(cards: tuple[Stage, ColourTracker]) -> None:
    stage, tracker = cards
    tracker.track(stage.observe())
    stage.close_on("peg", 0.02, 0.286)
    tracker.track(stage.observe())
    stage.move("peg", (0.0, 0.0, 0.03))
    stage.put("peg", stage.at["peg"][0] + [0.0115, 0.0, 0.0])
    for _ in range(3):
        scene = tracker.track(stage.observe())
    assert error_m(scene, "peg", stage.at["peg"][0]) < 0.003


def test_a_peg_that_turns_in_the_hand_is_not_lost(cards: tuple[Stage, ColourTracker]) -> None:
    stage, tracker = cards
    tracker.track(stage.observe())
    stage.close_on("peg", 0.0, 0.286)
    tracker.track(stage.observe())
    pos = stage.move("peg", (0.0, 0.0, 0.06))
    leans = quat_multiply(quat_from_rotvec(np.array([0.0, 0.3, 0.0])), DOWN)
    stage.tool = Pose(pos=stage.tool.pos, quat_xyzw=leans)
    for _ in range(3):
        scene = tracker.track(stage.observe())
    assert error_m(scene, "peg", pos) < 0.010


def test_a_stain_lies_on_its_board(wiping: tuple[Stage, ColourTracker]) -> None:
    stage, tracker = wiping
    scene = tracker.track(stage.observe())
    assert error_m(scene, "stain", WIPING_AT["stain"]) < 0.002
    assert error_m(scene, "board", WIPING_AT["board"]) < 0.002


def test_a_stain_that_shows_no_more_on_the_bare_board_is_gone(wiping: tuple[Stage, ColourTracker]) -> None:
    stage, tracker = wiping
    tracker.track(stage.observe())
    del stage.at["stain"]
    tracker.track(stage.observe(("front",)))
    gone = tracker.track(stage.observe(("front",))).objects["stain"]
    assert gone.pos_in_base[2] == -0.5
    assert gone.confidence == 1.0


def test_one_picture_is_not_enough_for_a_stain_to_be_gone(wiping: tuple[Stage, ColourTracker]) -> None:
    stage, tracker = wiping
    tracker.track(stage.observe())
    del stage.at["stain"]
    scene = tracker.track(stage.observe(("front",)))
    assert error_m(scene, "stain", WIPING_AT["stain"]) < 0.002


def test_a_stain_under_the_eraser_is_not_gone_and_ages(wiping: tuple[Stage, ColourTracker]) -> None:
    stage, tracker = wiping
    before = tracker.track(stage.observe())
    stage.cover((0.45, 0.03, 0.05), (0.06, 0.04, 0.03))
    for _ in range(10):
        scene = tracker.track(stage.observe())
    assert error_m(scene, "stain", WIPING_AT["stain"]) < 0.002
    assert scene.objects["stain"].confidence < before.objects["stain"].confidence


def test_a_wiped_stain_is_gone_as_soon_as_its_end_shows_bare_board(wiping: tuple[Stage, ColourTracker]) -> None:
    stage, tracker = wiping
    tracker.track(stage.observe())
    del stage.at["stain"]
    stage.put("eraser", [0.435, 0.03, 0.025])
    for _ in range(2):
        scene = tracker.track(stage.observe())
    assert scene.objects["stain"].pos_in_base[2] == -0.5


def test_a_stain_that_turns_up_again_is_found_again(wiping: tuple[Stage, ColourTracker]) -> None:
    stage, tracker = wiping
    tracker.track(stage.observe())
    del stage.at["stain"]
    for _ in range(2):
        tracker.track(stage.observe())
    stage.put("stain", [0.40, 0.10, 0.005])
    assert error_m(tracker.track(stage.observe()), "stain", stage.at["stain"][0]) < 0.003


def test_a_drawer_is_followed_along_its_guide(tidying: tuple[Stage, ColourTracker]) -> None:
    stage, tracker = tidying
    for out in (0.0, 0.02, 0.05, 0.10, 0.03):
        pos = TIDYING_AT["drawer"] + out * OUT
        stage.put("drawer", pos)
        scene = tracker.track(stage.observe())
        assert error_m(scene, "drawer", pos) < 0.003


def test_a_ball_that_lies_in_the_drawer_is_found_at_its_floor(tidying: tuple[Stage, ColourTracker]) -> None:
    stage, tracker = tidying
    drawer = TIDYING_AT["drawer"] + 0.12 * OUT
    stage.put("drawer", drawer)
    stage.put("ball", drawer + np.array([0.01, 0.02, 0.004]))
    scene = tracker.track(stage.observe())
    assert scene.position("ball")[2] == pytest.approx(drawer[2] - 0.015 + 0.019, abs=0.003)


def test_what_slides_is_not_found_before_what_it_slides_in(tidying: tuple[Stage, ColourTracker]) -> None:
    stage, tracker = tidying
    del stage.at["cabinet"]
    assert "drawer" not in tracker.track(stage.observe()).objects


def test_a_hand_closed_on_nothing_it_knows_holds_nothing(cards: tuple[Stage, ColourTracker]) -> None:
    stage, tracker = cards
    tracker.track(stage.observe())
    stage.tool = Pose(pos=HIGH, quat_xyzw=DOWN)
    stage.opening, stage.command = 0.5, 0.0
    scene = tracker.track(stage.observe())
    assert all(error_m(scene, n, pos) < 0.003 for n, pos in CARDS_AT.items())
