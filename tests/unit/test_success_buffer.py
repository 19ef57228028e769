"""The best recoveries are kept, drawn by how good they were, and imitated beside reinforcement learning."""

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from stable_baselines3.common.vec_env import VecEnv

from residual.reward import SUCCESS_BONUS
from residual.success_buffer import (
    ImitatingAdam,
    Success,
    SuccessBuffer,
    SuccessConfig,
    SuccessRecorder,
    imitation_loss,
)


def success(quality: float, steps: int = 3) -> Success:
    """Every row says its quality."""
    rows = np.full((steps, 2), quality, dtype=np.float32)
    return Success(features=rows, residuals=rows[:, :1] / 10, quality=quality)


def filled(qualities: Sequence[float], **changes: Any) -> SuccessBuffer:
    buffer = SuccessBuffer(SuccessConfig(**changes))
    for quality in qualities:
        buffer.add(success(quality))
    return buffer


def test_only_the_best_are_kept_and_the_lowest_goes_first() -> None:
    buffer = filled([1.0, 5.0, 3.0, 4.0, 2.0], size=3)
    assert [s.quality for s in buffer.kept] == [5.0, 4.0, 3.0]
    buffer.add(success(0.5))
    assert [s.quality for s in buffer.kept] == [5.0, 4.0, 3.0]


def test_a_buffer_of_size_zero_keeps_nothing_and_an_empty_one_gives_nothing() -> None:
    assert not filled([1.0, 2.0], size=0).kept
    assert filled([]).draw(np.random.default_rng(0)) is None


def drawn_shares(buffer: SuccessBuffer) -> dict[float, float]:
    rows = buffer.draw(np.random.default_rng(0))
    assert rows is not None
    values, counts = np.unique(rows[0][:, 0], return_counts=True)
    return {float(v): c / counts.sum() for v, c in zip(values, counts, strict=True)}


def test_better_recoveries_are_drawn_more_often_and_the_worst_sometimes() -> None:
    shares = drawn_shares(filled([-8.0, -5.0, -2.0], batch=4000))
    expected = np.array([0.05, 0.55, 1.05]) ** 0.6
    assert [shares[q] for q in (-8.0, -5.0, -2.0)] == pytest.approx(expected / expected.sum(), abs=0.03)


@pytest.mark.parametrize("changes", [{"alpha": 0.0}, {}])
def test_without_a_preference_or_a_difference_all_are_drawn_alike(changes: dict[str, float]) -> None:
    alike = filled([1.0, 2.0], batch=4000, **changes) if changes else filled([3.0, 3.0], batch=4000)
    shares = drawn_shares(alike)
    assert sum(shares.values()) == 1.0
    assert all(share == pytest.approx(1 / len(shares), abs=0.03) for share in shares.values())


def test_features_and_residuals_of_a_row_belong_together() -> None:
    buffer = SuccessBuffer(SuccessConfig(batch=64))
    rows = np.arange(20, dtype=np.float32)[:, None]
    buffer.add(Success(features=rows, residuals=rows * 2, quality=1.0))
    drawn = buffer.draw(np.random.default_rng(1))
    assert drawn is not None
    assert (drawn[1] == 2 * drawn[0]).all()
    assert len(np.unique(drawn[0])) > 10


class Scripted(VecEnv):  # type: ignore[misc]  # stable-baselines3 is seen as untyped
    """Worlds that end when they are told to; an observation is (world, step)."""

    def __init__(self, endings: dict[int, dict[int, dict[str, Any]]]) -> None:
        self.render_mode = None
        self._endings, self._t = endings, 0
        box = gymnasium.spaces.Box
        super().__init__(2, box(-np.inf, np.inf, (2,), np.float32), box(-1.0, 1.0, (1,), np.float32))

    def reset(self) -> np.ndarray:
        return self._seen()

    def step_async(self, actions: np.ndarray) -> None: ...

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        infos = [dict(self._endings.get(i, {}).get(self._t, {})) for i in range(2)]
        self._t += 1
        return self._seen(), np.zeros(2, dtype=np.float32), np.array([bool(i) for i in infos]), infos

    def _seen(self) -> np.ndarray:
        return np.array([[0, self._t], [1, self._t]], dtype=np.float32)

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [None, None]

    def close(self) -> None: ...
    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None: ...
    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        return []

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        return [False, False]


def ending(steps: int, total: float, *, won: bool = True, eased: bool = False) -> dict[str, Any]:
    return {"is_success": won, "eased": eased, "stuck": "", "episode": {"r": total, "l": steps, "t": 0.0}}


def watched(endings: dict[int, dict[int, dict[str, Any]]], longest: int = 10) -> tuple[SuccessBuffer, SuccessBuffer]:
    """Twelve steps in which the residual is a tenth of the step's number, and out of range in the last."""
    config = SuccessConfig()
    buffers = (SuccessBuffer(config), SuccessBuffer(config))
    recorder = SuccessRecorder(Scripted(endings), buffers, config, longest)
    recorder.reset()
    for t in range(12):
        recorder.step_async(np.full((2, 1), 0.1 * t if t < 11 else 5.0, dtype=np.float32))
        recorder.step_wait()
    return buffers


def test_a_success_is_kept_with_what_was_seen_and_done_from_its_own_start_on() -> None:
    as_is, eased = watched({0: {3: ending(4, 12.0, won=False)}, 1: {5: ending(6, 12.0), 11: ending(6, 11.0)}})
    assert not eased.kept
    first, second = as_is.kept
    assert first.features.tolist() == [[1.0, t] for t in range(6)]
    assert first.residuals[:, 0].tolist() == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4, 0.5])
    assert first.quality == pytest.approx(12.0 - SUCCESS_BONUS - 0.06)
    assert second.features.tolist() == [[1.0, t] for t in range(6, 12)]
    assert second.residuals[:, 0].tolist() == pytest.approx([0.6, 0.7, 0.8, 0.9, 1.0, 1.0])


def test_successes_of_eased_scenes_have_a_buffer_of_their_own() -> None:
    as_is, eased = watched({0: {2: ending(3, 12.0, eased=True)}, 1: {4: ending(5, 11.0)}})
    assert [s.features[0, 0] for s in as_is.kept] == [1.0]
    assert [s.features[0, 0] for s in eased.kept] == [0.0]


def test_of_a_recovery_longer_than_what_is_remembered_the_end_is_kept() -> None:
    as_is, _ = watched({0: {11: ending(12, 12.0)}}, longest=5)
    assert as_is.kept[0].features[:, 1].tolist() == [7.0, 8.0, 9.0, 10.0, 11.0]


def test_the_loss_is_the_weighted_square_error_over_rows_of_every_buffer_that_holds_any() -> None:
    config, actor = SuccessConfig(weight=0.5, batch=8), torch.nn.Linear(2, 1)
    with torch.no_grad():
        actor.weight.zero_()
        actor.bias.fill_(0.3)
    one, other = filled([1.0], batch=8), filled([2.0], batch=8)
    rng = np.random.default_rng(0)
    loss = imitation_loss(actor, (one, filled([])), config, rng)
    assert loss is not None
    assert float(loss.detach()) == pytest.approx(0.5 * (0.3 - 0.1) ** 2)
    both = imitation_loss(actor, (one, other), config, rng)
    assert both is not None
    assert float(both.detach()) == pytest.approx(0.5 * ((0.3 - 0.1) ** 2 + (0.3 - 0.2) ** 2) / 2)
    assert imitation_loss(actor, (filled([]), filled([])), config, rng) is None
    assert imitation_loss(actor, (one, other), SuccessConfig(weight=0.0), rng) is None


def test_the_optimiser_follows_both_gradients_in_one_step() -> None:
    plain, imitating = (torch.nn.Parameter(torch.tensor([1.0, -2.0])) for _ in range(2))
    adam, both = torch.optim.Adam([plain], lr=0.01, eps=1e-5), ImitatingAdam([imitating], lr=0.01)
    both.second_loss = lambda: 3.0 * imitating[1]
    for _ in range(4):
        for p, optimiser in ((plain, adam), (imitating, both)):
            optimiser.zero_grad()
            loss = p.square().sum() + (3.0 * p[1] if optimiser is adam else 0.0)
            loss.backward()
            optimiser.step()
    assert imitating.tolist() == plain.tolist()


def test_a_frozen_actor_and_an_empty_buffer_leave_the_step_as_it_is() -> None:
    p, frozen = torch.nn.Parameter(torch.ones(1)), torch.nn.Parameter(torch.ones(1), requires_grad=False)
    optimiser = ImitatingAdam([p, frozen], lr=0.1)
    for second in (lambda: None, lambda: frozen.square().sum()):
        optimiser.second_loss = second
        before = p.item()
        optimiser.zero_grad()
        p.sum().backward()
        optimiser.step()
        assert p.item() < before
        assert p.grad is not None
        assert p.grad.tolist() == [1.0]
    assert frozen.item() == 1.0
