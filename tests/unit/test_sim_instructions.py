"""Templates filled with names, and which of them demonstrations use."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from sim.instructions import Instructions
from sim.tasks.fruit_on_plate import INFO

SHORT = replace(INFO, templates=("put the {target} on the {goal}", "the {target} goes on the {goal}"))


def test_the_first_half_of_the_templates_is_taught_without_the_names_held_out():
    told = Instructions(SHORT, held_out=("red fruit", "red one", "yellow lemon", "yellow fruit", "yellow one", "dish"))
    assert told.training == (
        "put the apple on the plate", "put the red apple on the plate", "put the lemon on the plate",
    )  # fmt: skip
    assert set(Instructions(SHORT).training) < set(told.training + told.paraphrases)
    assert len(told.training + told.paraphrases) == len({*told.training, *told.paraphrases}) == 2 * 8 * 2


def test_a_task_whose_words_name_nothing_is_told_its_templates():
    plain = replace(INFO, templates=("tidy up", "do it"), goal="", subtasks=())
    told = Instructions(plain)
    assert (told.training, told.paraphrases) == (("tidy up",), ("do it",))
    rng = np.random.default_rng(0)
    assert {told.draw(rng, "all") for _ in range(20)} == {"tidy up", "do it"}


@pytest.mark.parametrize("wording", ["training", "paraphrases", "all"])
def test_every_target_is_drawn_as_often_however_many_names_it_has(wording):
    nameless = replace(SHORT, objects=(replace(INFO.objects[0], words=("red one",)), *INFO.objects[1:]))
    told, rng = Instructions(nameless, held_out=("red one",)), np.random.default_rng(0)
    drawn = Counter(nameless.named(told.draw(rng, wording)) for _ in range(400))
    assert abs(drawn["apple"] - drawn["lemon"]) < 60
