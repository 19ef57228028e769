"""Sub-tasks: when they are done, who plays which role in them, and how far a course has got."""

import numpy as np
import pytest

from core.arrays import Floats
from core.errors import ConfigError
from core.recovery import RecoveryStage
from core.scene import SceneRoles
from core.subtasks import STAGES_OF, Course, Manner, SubTask, Where

NAMES = ("handle", "toy", "box")
ANY = np.full(3, np.inf)


def opened() -> SubTask:
    """The handle, anywhere but for x, has been pulled to x = 0.3 m or nearer to the base."""
    return SubTask(
        name="open", manner=Manner.PULL, roles=SceneRoles(target="handle"),
        done=(Where(thing="handle", low=-ANY, high=np.array([0.3, np.inf, np.inf])),),
    )  # fmt: skip


def inside() -> SubTask:
    """The named thing is at most 5 cm beside the box, or has fallen off the table."""
    return SubTask(
        name="put in", manner=Manner.PLACE, roles=SceneRoles(target="{target}", distractor="{distractor}", goal="box"),
        done=(
            Where(thing="{target}", anchor="box", low=np.array([-0.05, -0.05, 0.0]), high=np.array([0.05, 0.05, 0.1])),
            Where(thing="{target}", low=-ANY, high=np.array([np.inf, np.inf, -0.1])),
        ),
    )  # fmt: skip


def closed() -> SubTask:
    return SubTask(
        name="close", manner=Manner.PUSH, roles=SceneRoles(target="handle"),
        done=(Where(thing="handle", low=np.array([0.4, -np.inf, -np.inf]), high=ANY),),
    )  # fmt: skip


@pytest.fixture
def course() -> Course:
    return Course(names=NAMES, subtasks=(opened(), inside().filled("toy", "box")))


def places(handle_x: float, toy: tuple[float, float, float]) -> Floats:
    """One world: the handle at an x, the toy, the box at (0.5, 0.1, 0)."""
    return np.array([[[handle_x, 0.0, 0.1], toy, [0.5, 0.1, 0.0]]])


@pytest.mark.parametrize(
    ("offset", "there"),
    [
        ((0.0, 0.0, 0.0), True), ((0.049, -0.049, 0.099), True), ((0.051, 0.0, 0.0), False), ((0.0, 0.0, -0.01), False),
        ((np.nan, 0.0, 0.0), False),
    ],
)  # fmt: skip
def test_a_box_holds_inside_its_edges_and_moves_with_its_anchor(offset: tuple[float, ...], there: bool) -> None:
    box = inside().filled("toy", "box").done[0]
    for anchor in (np.zeros(3), np.array([0.5, 0.1, 0.25])):
        pos = np.array([[np.zeros(3), anchor + offset, anchor]])
        assert box.holds(NAMES, pos).tolist() == [there]


def test_nothing_is_known_of_a_thing_whose_anchor_is_not_known() -> None:
    box = inside().filled("toy", "box").done[0]
    assert not box.holds(NAMES, np.array([[np.zeros(3), np.zeros(3), np.full(3, np.nan)]])).any()


def test_any_of_several_boxes_will_do(course: Course) -> None:
    assert course.progress(places(0.2, (0.52, 0.1, 0.03))).tolist() == [2]
    assert course.progress(places(0.2, (0.9, 0.9, -0.5))).tolist() == [2]


@pytest.mark.parametrize(
    ("handle_x", "toy", "done"),
    [
        (0.35, (0.3, 0.3, 0.0), 0), (0.25, (0.3, 0.3, 0.0), 1), (0.25, (0.5, 0.1, 0.02), 2),
        (0.35, (0.5, 0.1, 0.02), 0), (np.nan, (0.5, 0.1, 0.02), 0),
    ],
)  # fmt: skip
def test_progress_counts_up_to_the_first_that_is_not_done(
    course: Course, handle_x: float, toy: tuple[float, float, float], done: int
) -> None:
    assert course.progress(places(handle_x, toy)).tolist() == [done]


def test_progress_of_many_worlds_is_that_of_each(course: Course) -> None:
    cases = [places(x, (0.5, y, 0.02)) for x in (0.2, 0.35) for y in (0.1, 0.4)]
    each = [int(course.progress(pos)[0]) for pos in cases]
    assert course.progress(np.concatenate(cases)).tolist() == each == [2, 1, 0, 0]


def test_a_course_stays_at_its_last_sub_task(course: Course) -> None:
    assert [course.at(k).name for k in (0, 1, 2)] == ["open", "put in", "put in"]


def test_names_of_an_instruction_are_filled_in_everywhere() -> None:
    filled = inside().filled("toy", "handle")
    assert (filled.roles.target, filled.roles.distractor, filled.roles.goal) == ("toy", "handle", "box")
    assert [w.thing for w in filled.done] == ["toy", "toy"]
    assert [w.anchor for w in filled.done] == ["box", ""]
    assert closed().filled("toy", "box").roles == closed().roles


def test_every_manner_has_its_stages_in_the_order_of_a_recovery() -> None:
    assert set(STAGES_OF) == set(Manner)
    order = list(RecoveryStage)
    for manner, stages in STAGES_OF.items():
        assert stages[0] is RecoveryStage.RETREAT, manner
        assert len(set(stages)) == len(stages)
        assert [order.index(s) for s in stages] == sorted(order.index(s) for s in stages)
    assert opened().stages == STAGES_OF[Manner.PULL]
    assert RecoveryStage.GRASP not in closed().stages


@pytest.mark.parametrize("low", [np.zeros(2), np.array([0.0, np.nan, 0.0])])
def test_a_box_needs_three_numbers_or_infinities(low: Floats) -> None:
    with pytest.raises(ConfigError, match=r"low of 'toy' is .*; give 3 numbers or infinities"):
        Where(thing="toy", low=low, high=ANY)


def test_a_course_without_sub_tasks_is_refused() -> None:
    with pytest.raises(ConfigError, match="no sub-task; give at least one"):
        Course(names=NAMES, subtasks=())


def test_an_unknown_object_names_the_nearest_and_the_sub_task() -> None:
    with pytest.raises(ConfigError, match=r"sub-task 'put in'.*did you mean 'toy'"):
        Course(names=NAMES, subtasks=(inside().filled("toys", "box"),))
    with pytest.raises(ConfigError, match=r"\{target\}"):
        Course(names=NAMES, subtasks=(inside(),))
