"""How good a surrogate is when nothing fails and it is told the truth. Called by `regrasp learn surrogate`."""

from collections.abc import Callable

import numpy as np

from core.ports import World
from core.recovery import Rate
from core.subtasks import Course
from residual.agenda import Agenda
from residual.features import body_of_state, tracked_by_role
from residual.surrogate import Surrogate


def nominal_rate(
    surrogate: Surrogate, world: World, course: Callable[[str], Course], *, seed: int, steps: int, replan_steps: int = 4
) -> Rate:
    """Returns in how many worlds it does the whole task, one episode each.

    Args:
        surrogate: Trained.
        world: Simulated cells; all are used.
        course: Reads what is to be done from an instruction.
        seed: First episode seed.
        steps: Control steps after which an episode has failed.
        replan_steps: Rows of a chunk that are taken before the next is planned.
    """
    ids, agenda = np.arange(world.n), Agenda(course, world.n)
    world.reset(ids, seed + ids)
    agenda.tell(ids, [world.instruction(int(i)) for i in ids])
    state = world.state()
    won = np.zeros(world.n, dtype=bool)
    for step in range(steps):
        if step % replan_steps == 0:
            pos = state.object_pos_in_base
            chunk = surrogate.plan(body_of_state(state), tracked_by_role(pos, agenda.due(ids, pos)))
        world.step(chunk[:, step % replan_steps])
        state = world.state()
        won |= state.success & ~state.physics_reset
        if won.all():
            break
    return Rate(k=int(won.sum()), n=world.n)
