"""Which skills a training makes: one for each mode with enough failures, one of them covering those with too few."""

import pytest

from core.failures import FailureMode
from core.manner import Manner
from regrasp.train import FEWEST_EPISODES, SkillJob, TrainConfig, _jobs_of_manner

ENOUGH, FEW = FEWEST_EPISODES, FEWEST_EPISODES - 1


def banks(**episodes: int) -> dict[SkillJob, int]:
    config = TrainConfig()
    return {SkillJob(config=config, mode=FailureMode(m), bank_seed=k): n for k, (m, n) in enumerate(episodes.items())}


def made(**episodes: int) -> dict[str, tuple[str, ...]]:
    return {j.name: tuple(map(str, j.also)) for j in _jobs_of_manner(Manner.PULL, banks(**episodes))}


def test_every_mode_with_enough_failures_has_a_skill_of_its_own() -> None:
    assert made(slip=ENOUGH, jam=ENOUGH) == {"pull-slip": (), "pull-jam": ()}


def test_modes_with_too_few_are_covered_by_the_skill_that_fetches_the_thing_again() -> None:
    assert made(jam=ENOUGH, slip=ENOUGH, drop=FEW, wrong_object=3) == {
        "pull-jam": (),
        "pull-slip": ("drop", "wrong_object"),
    }


def test_without_such_a_skill_the_one_with_most_failures_covers_them() -> None:
    assert made(jam=ENOUGH, target_moved=ENOUGH + 5, drop=FEW) == {"pull-jam": (), "pull-target_moved": ("drop",)}


def test_modes_that_have_enough_only_together_share_a_skill() -> None:
    assert made(jam=FEW, slip=FEW) == {"pull-slip": ("jam",)}


def test_too_few_in_all_make_no_skill_and_that_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert made(jam=2, slip=3) == {}
    assert "failures from 5 episodes only, no skill is trained" in "".join(capsys.readouterr())
