"""Every task by name. A new task gets its line here."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from core.errors import unknown_name
from core.ports import Expert
from core.tasks import TaskInfo
from sim.task import Task
from sim.tasks.drawer_expert import DrawerExpert
from sim.tasks.fruit_expert import FruitExpert
from sim.tasks.fruit_on_plate import INFO as FRUIT_ON_PLATE
from sim.tasks.fruit_on_plate import FruitOnPlate
from sim.tasks.peg_expert import PegExpert
from sim.tasks.peg_in_hole import INFO as PEG_IN_HOLE
from sim.tasks.peg_in_hole import PegInHole
from sim.tasks.pick_card import INFO as PICK_CARD
from sim.tasks.pick_card import PickCard
from sim.tasks.pick_card_expert import CardExpert
from sim.tasks.pick_place import PickPlaceExpert
from sim.tasks.sort_two import INFO as SORT_TWO
from sim.tasks.sort_two import SortTwo
from sim.tasks.tidy_drawer import INFO as TIDY_DRAWER
from sim.tasks.tidy_drawer import TidyDrawer
from sim.tasks.wipe_board import INFO as WIPE_BOARD
from sim.tasks.wipe_board import WipeBoard
from sim.tasks.wipe_expert import WipeExpert


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEntry:
    """One task: what it is, and how it is made in simulation."""

    info: TaskInfo
    make: Callable[[], Task]
    expert: Callable[[], Expert]
    """Recovers from any state: warm starts, authority test."""
    demonstrator: Callable[[], Expert]
    """Shows what the base policy and its surrogate learn."""


_TASKS = {
    FRUIT_ON_PLATE.name: TaskEntry(
        info=FRUIT_ON_PLATE, make=FruitOnPlate, expert=FruitExpert, demonstrator=partial(FruitExpert, unstick=False)
    ),
    PEG_IN_HOLE.name: TaskEntry(info=PEG_IN_HOLE, make=PegInHole, expert=PegExpert, demonstrator=PegExpert),
    PICK_CARD.name: TaskEntry(info=PICK_CARD, make=PickCard, expert=CardExpert, demonstrator=CardExpert),
    SORT_TWO.name: TaskEntry(
        info=SORT_TWO,
        make=SortTwo,
        expert=partial(PickPlaceExpert, SORT_TWO),
        demonstrator=partial(PickPlaceExpert, SORT_TWO),
    ),
    TIDY_DRAWER.name: TaskEntry(info=TIDY_DRAWER, make=TidyDrawer, expert=DrawerExpert, demonstrator=DrawerExpert),
    WIPE_BOARD.name: TaskEntry(
        info=WIPE_BOARD, make=WipeBoard, expert=WipeExpert, demonstrator=partial(WipeExpert, turns=False)
    ),
}


def find_task(name: str) -> TaskEntry:
    """Returns the task called `name`, or raises `ConfigError` naming the nearest."""
    if name not in _TASKS:
        raise unknown_name("task", name, _TASKS)
    return _TASKS[name]


def task_names() -> tuple[str, ...]:
    """Returns the names of all tasks."""
    return tuple(_TASKS)
