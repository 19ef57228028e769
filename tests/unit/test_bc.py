"""Behaviour cloning: rows, phrases, batches, losses, and that training a tiny network works at all."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bridge.pi0.model import NanoShape, build_nano
from bridge.pi0.policy import Pi0Policy
from core.demonstrations import Demonstrations
from core.errors import ConfigError, ContractError
from core.failures import FailureMode
from core.scene import SceneRoles
from core.subtasks import Manner, SubTask, Where
from core.tasks import ObjectInfo, TaskInfo
from regrasp.bc_encoding import (
    encode_demonstrations,
    encode_lessons,
    lessons_of,
    nano_manifest,
    nano_processing,
    nano_tokenizer,
    seen_objects,
    vocabulary,
)
from regrasp.demo_files import save_demonstrations
from regrasp.learn_bc import LearnBcConfig, train_policy
from residual.bc import Average, BcConfig, batch_losses, fit, pretrain
from residual.bc_checks import headed_for, unseen_losses
from residual.bc_data import Augmentation, BcData, Sampler, chunk_rows, joined
from residual.bc_phrases import sentence_patterns, target_phrases, training_sentences


def thing(name: str, colour: str, *, graspable: bool) -> ObjectInfo:
    words = (f"{colour} {name}", f"{colour} fruit", f"{colour} one") if graspable else ("dish",)
    return ObjectInfo(
        name=name, words=words, shape="sphere", size_m=np.full(3, 0.03), rgb=np.full(3, 0.5), graspable=graspable
    )


APPLE, LEMON = thing("apple", "red", graspable=True), thing("lemon", "yellow", graspable=True)
TASK = TaskInfo(
    name="toy", objects=(APPLE, LEMON, thing("plate", "", graspable=False), thing("block", "", graspable=False)),
    goal="plate", obstacle="block",
    templates=("put the {target} on the {goal}", "the {target} goes on the {goal}", "on the {goal} set the {target}",
               "take the {target} to the {goal}"),
    family="short_horizon",
    subtasks=(
        SubTask(
            name="on the plate", manner=Manner.PLACE,
            roles=SceneRoles(target="{target}", distractor="{distractor}", goal="plate", obstacle="block"),
            done=(Where(thing="{target}", anchor="plate", low=np.full(3, -0.05), high=np.full(3, 0.05)),),
        ),
    ),
    modes=(FailureMode.DROP,), episode_steps=50,
)  # fmt: skip
OBJECTS = ("toy/apple", "toy/lemon", "toy/plate")
TOLD = (
    "put the apple on the plate",
    "the red fruit goes on the dish",
    "put the yellow lemon on the plate",
    "the yellow fruit goes on the plate",
    "put the red apple on the dish",
    "put the lemon on the plate",
)


def demonstrations(seed: int, episodes: int = 6, rows: int = 7) -> Demonstrations:
    """Random ones; the block is parked below the table."""
    rng = np.random.default_rng(seed)
    m = episodes * rows
    objects = np.repeat(rng.uniform([0.3, -0.2, 0.02], [0.5, 0.2, 0.05], (episodes, 4, 3)), rows, axis=0)
    objects[:, 3, 2] = -1.0
    told = [TOLD[i % len(TOLD)] for i in range(episodes)]
    return Demonstrations(
        images=rng.integers(0, 256, (m, 2, 32, 32, 3), dtype=np.uint8), pictured=np.arange(m),
        cameras=("front", "wrist"),
        proprio=rng.normal(size=(m, 8)), actions=rng.uniform(-0.02, 0.02, (m, 7)),
        episode=np.repeat(np.arange(episodes), rows), instructions=tuple(told),
        object_names=("apple", "lemon", "plate", "block"), objects_in_base=objects,
    )  # fmt: skip


@pytest.fixture(scope="module")
def encoded():
    demos = demonstrations(0)
    lessons = lessons_of(TASK, demos.instructions)
    tokenizer = nano_tokenizer([lessons])
    spec = nano_processing([demos], 3)
    manifest = nano_manifest([lessons], spec, seen_objects(demos, "toy"), training={})
    phrases = encode_lessons([lessons], spec, tokenizer)
    data = encode_demonstrations(demos, lessons, manifest, task=0, phrases=phrases, chunk=4)
    return demos, lessons, tokenizer, manifest, data


@pytest.fixture
def network(encoded):
    shape = NanoShape(vocabulary=encoded[2].get_vocab_size(), hidden=32, mlp=32, layers=1, heads=2, kv_heads=1, chunk=4,
                      image_px=32, image_tokens=3)  # fmt: skip
    return build_nano(shape, 2, OBJECTS, seed=1)


@given(st.lists(st.integers(1, 6), min_size=1, max_size=5), st.integers(1, 4))
def test_chunks_never_cross_episodes(lengths, chunk):
    episode = np.repeat(np.arange(len(lengths)), lengths)
    actions = np.arange(len(episode), dtype=float)[:, None]
    chunks, valid, step = chunk_rows(actions, episode, chunk)
    assert chunks.shape == (len(episode), chunk, 1)
    assert np.array_equal(episode[chunks[..., 0].astype(int)], np.repeat(episode[:, None], chunk, axis=1))
    assert valid.sum() == sum(min(chunk, n - i) for n in lengths for i in range(n))
    assert np.array_equal(chunks[:, 0, 0], actions[:, 0])
    assert np.array_equal(step, np.concatenate([np.arange(n) for n in lengths]))


def test_held_out_sentences_and_names_are_nowhere_in_training():
    held = ("on the {goal} set the {target}", "red one")
    told = training_sentences(APPLE, ("plate", "dish"), ("put the {target} on the {goal}",), held, 12)
    assert not any("red one" in text for text in told)
    assert not any("set the apple" in text and text.startswith("on the plate") for text in told)
    assert "on the plate put the red thing" in told
    assert max(len(text.split()) for text in told) <= 12


def test_half_of_the_training_sentences_follow_the_tasks_own_templates():
    own = ("put the {target} on the {goal}",)
    told = training_sentences(APPLE, ("plate",), own, (), 12)
    lessons = {own[0].format(target=p, goal="plate") for p in target_phrases(APPLE)}
    assert 0.4 < sum(text in lessons for text in told) / len(told) < 0.6


def test_patterns_have_one_target_and_colours_stand_alone():
    assert all(p.count("{target}") == 1 and p.count("{goal}") <= 1 for p in sentence_patterns())
    assert {"apple", "red", "red thing", "one that is red"} <= set(target_phrases(APPLE))


def test_lessons_hold_out_what_demonstrations_never_say(encoded):
    lessons = encoded[1]
    apple, lemon = lessons.orders
    assert (apple.target, lemon.target) == ("apple", "lemon")
    assert "put the red one on the plate" in apple.held_out
    assert "on the plate set the apple" in apple.held_out
    assert not set(apple.held_out) & set(apple.sentences)
    assert set(lemon.taught) <= set(lemon.sentences)
    assert lessons.object_words() == {"apple", "lemon", "red", "yellow"}
    assert {"one", "dish", "take"} <= set(vocabulary([lessons]))


def test_encoding_drops_objects_that_are_never_shown(encoded):
    _, _, _, manifest, data = encoded
    assert manifest.readout_objects == OBJECTS
    assert data.objects_m.shape == (42, 3, 3)
    assert data.present.all()
    assert np.abs(data.states.mean(axis=0)).max() < 1e-5


def test_every_order_has_its_target_and_goal(encoded):
    demos, _, _, _, data = encoded
    told = np.repeat([0 if TASK.named(t) == "apple" else 1 for t in demos.instructions], 7)
    assert data.order.tolist() == told.tolist()
    assert np.array_equal(data.named_m[:, :, 0], data.objects_m[:, :2])
    assert np.array_equal(data.named_m[:, 0, 1], data.objects_m[:, 2])


def test_rows_without_a_picture_are_left_out(encoded):
    demos, lessons, _, manifest, data = encoded
    few = replace(demos, images=demos.images[::3], pictured=np.arange(0, 42, 3))
    part = encode_demonstrations(few, lessons, manifest, task=0, phrases=data.phrases, chunk=4)
    assert np.array_equal(part.chunks, data.chunks[::3])
    assert np.array_equal(part.pictures.take(np.array([1, 13])), data.pictures.take(np.array([3, 39])))


def test_rows_of_two_tasks_are_told_what_their_own_task_can_be_told(encoded):
    data = encoded[-1]
    second = replace(data, task=np.ones(42, np.int64), phrases=(data.phrases[0], data.phrases[0][:1]),
                     order=np.zeros(42, np.int64), named_m=data.named_m[:, :1])  # fmt: skip
    both = joined([replace(data, phrases=second.phrases), second])
    assert len(both.pictures) == len(both.step) == 84
    assert both.named_m.shape == (84, 2, 2, 3)
    batch = Sampler(both, Augmentation(first_share=0.0, other_told=1.0), np.random.default_rng(0)).draw(300)
    assert 0.6 < batch.weight[:, 0].numpy().mean() < 0.9


def test_tables_of_different_length_are_refused(encoded):
    data = encoded[-1]
    with pytest.raises(ContractError, match="must agree"):
        replace(data, step=data.step[:-1])
    with pytest.raises(ContractError, match="no training instruction"):
        replace(data, phrases=((np.zeros((0, 14), np.int64), *data.phrases[0][1:]),))


def test_batches_are_drawn_as_asked(encoded):
    data: BcData = encoded[-1]
    how = Augmentation(first_share=1.0, first_steps=1, other_told=0.5)
    batch = Sampler(data, how, np.random.default_rng(0)).draw(400)
    follows = batch.weight[:, 0].numpy()
    assert 0.65 < follows.mean() < 0.85
    named = (batch.named_m[:, None, 0] - batch.objects_m).abs().sum(-1).argmin(1).numpy()
    texts = [set(map(tuple, table.tolist())) for table in data.phrases[0]]
    assert all(tuple(row) in texts[i] for row, i in zip(batch.text.tolist(), named, strict=True))
    assert torch.equal(batch.named_m[:, 1], batch.objects_m[:, 2])
    assert batch.pixels.min() >= -1.0
    assert batch.pixels.max() <= 1.0
    first = {tuple(row) for row in data.states[data.step == 0].round(3).tolist()}
    assert len({tuple(row) for row in batch.actions[:, 0].numpy().round(4).tolist()}) <= len(first)


@pytest.mark.parametrize(("share", "wanted"), [(0.0, 0), (0.3, 30), (1.0, 100)])
def test_a_batch_holds_the_asked_share_of_corrections(encoded, share, wanted):
    data = encoded[-1]
    corrected = replace(data, corrects=np.ones(42, bool), objects_m=data.objects_m + 10)
    how = Augmentation(first_share=0.0, corrected_share=share)
    batch = Sampler(joined([data, corrected]), how, np.random.default_rng(0)).draw(100)
    assert (batch.objects_m[:, 0, 0] > 5).sum() == wanted


def test_without_corrections_a_batch_is_all_demonstrations(encoded):
    first, second = (
        Sampler(encoded[-1], Augmentation(corrected_share=share), np.random.default_rng(3)).draw(8)
        for share in (0.0, 0.9)
    )
    assert torch.equal(first.pixels, second.pixels)


def test_encoded_corrections_know_their_step_and_that_they_correct(encoded):
    demos, lessons, _, manifest, data = encoded
    late = replace(demos, starts=np.arange(6) * 4)
    found = encode_demonstrations(late, lessons, manifest, task=0, phrases=data.phrases, chunk=4, corrects=True)
    assert found.step.tolist() == [4 * episode + row for episode in range(6) for row in range(7)]
    assert found.corrects.all()
    assert not data.corrects.any()


def test_the_same_seed_draws_the_same_batch(encoded):
    data = encoded[-1]
    one, two = (Sampler(data, Augmentation(), np.random.default_rng(3)).draw(8) for _ in range(2))
    assert torch.equal(one.pixels, two.pixels)
    assert torch.equal(one.text, two.text)


def test_rows_that_count_for_nothing_add_nothing_to_the_flow_loss(encoded, network):
    batch = Sampler(encoded[-1], Augmentation(other_told=0.0), np.random.default_rng(0)).draw(6)
    weight = batch.weight.clone()
    weight[3:] = 0.0
    spoiled = batch.actions.clone()
    spoiled[3:] = 100.0
    losses = [
        batch_losses(network, replace(batch, weight=weight, actions=a), BcConfig(), np.random.default_rng(1))["flow"]
        for a in (batch.actions, spoiled)
    ]
    assert torch.allclose(losses[0], losses[1])


def test_training_lowers_every_loss_and_the_average_follows(encoded, network):
    data = encoded[-1]
    recipe = BcConfig(pretrain_steps=30, pretrain_batch=16, steps=30, batch=16, draws=2, average=0.8)
    before = unseen_losses(network, data, recipe, rows=64, seed=0)
    eyes = [done.losses["objects_cm"] for done in pretrain(network, data, recipe)]
    average = Average(network, recipe.average)
    stages = [done.step for done in fit(network, data, recipe, average)]
    assert stages == list(range(1, 31))
    assert np.mean(eyes[-5:]) < 0.9 * np.mean(eyes[:5])
    live = {k: v.clone() for k, v in network.state_dict().items()}
    with average.shown(network):
        after = unseen_losses(network, data, recipe, rows=64, seed=0)
        assert any(not torch.equal(live[k], v) for k, v in network.state_dict().items())
    assert all(torch.equal(live[k], v) for k, v in network.state_dict().items())
    assert all(after[k] < before[k] for k in before)


def test_training_repeats_bit_for_bit(encoded):
    shape = NanoShape(vocabulary=encoded[2].get_vocab_size(), hidden=32, mlp=32, layers=1, heads=2, kv_heads=1, chunk=4,
                      image_px=32, image_tokens=3)  # fmt: skip
    recipe = BcConfig(pretrain_steps=2, pretrain_batch=8, steps=2, batch=8)
    results = []
    for _ in range(2):
        fresh = build_nano(shape, 2, OBJECTS, seed=1)
        list(pretrain(fresh, encoded[-1], recipe))
        list(fit(fresh, encoded[-1], recipe, Average(fresh, 0.9)))
        results.append(fresh.state_dict())
    assert all(torch.equal(results[0][k], results[1][k]) for k in results[0])


def test_heading_is_the_nearest_direction():
    objects = np.array([[[1.0, 0.0], [0.0, 1.0]]] * 2)
    found = headed_for(np.array([[0.9, 0.2], [-0.1, 0.5]]), np.zeros((2, 2)), objects)
    assert found.tolist() == [0, 1]


def test_an_impossible_recipe_is_refused():
    with pytest.raises(ContractError, match="1 or more"):
        BcConfig(draws=0)


def test_a_run_writes_a_checkpoint_that_drives_and_can_be_resumed(tmp_path):
    recipe = BcConfig(pretrain_steps=1, pretrain_batch=4, steps=2, batch=4, draws=1)
    config = LearnBcConfig(out=tmp_path / "nano", check_steps=1, check_rows=16, recipe=recipe)
    first = train_policy([TASK], [demonstrations(0)], [demonstrations(1)], config)
    log = [json.loads(line) for line in (tmp_path / "nano/training_log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log if line["stage"] == "check"] == [1, 2]
    assert set(first.first_step) == {"toy/taught", "toy/held_out"}
    further = replace(config, resume=True, recipe=replace(recipe, steps=3))
    again = train_policy([TASK], [demonstrations(0)], [demonstrations(1)], further)
    policy = Pi0Policy.load(tmp_path / "nano")
    assert policy.policy_id == again.policy_id != first.policy_id
    assert policy.manifest.training["steps"] == 3
    policy.check_instruction("take the red one to the dish")


def test_corrections_are_trained_on_too_when_their_task_is(tmp_path):
    recipe = BcConfig(pretrain_steps=1, pretrain_batch=4, steps=1, batch=4, draws=1)
    config = LearnBcConfig(out=tmp_path / "nano", check_rows=16, recipe=recipe, corrected=(tmp_path / "own",))
    made = {"task": "toy", "corrections": "pi0-nano"}
    save_demonstrations(tmp_path / "own", demonstrations(2, episodes=2), made)
    train_policy([TASK], [demonstrations(0)], [demonstrations(1)], config)
    facts = Pi0Policy.load(tmp_path / "nano").manifest.training
    assert (facts["pictures"], facts["corrected_rows"]) == (56, 14)
    save_demonstrations(tmp_path / "own", demonstrations(2), {**made, "task": "other"})
    with pytest.raises(ConfigError, match="corrects 'other', which is not trained; trained are toy"):
        train_policy([TASK], [demonstrations(0)], [demonstrations(1)], config)


def test_demonstrations_without_images_are_refused(tmp_path):
    blind = replace(demonstrations(0), images=np.zeros((0, 0), np.uint8), pictured=np.zeros(0, np.int64), cameras=())
    with pytest.raises(ConfigError, match="no images"):
        train_policy([TASK], [blind], [blind], LearnBcConfig(out=tmp_path))


def test_minutes_set_the_number_of_steps(tmp_path):
    recipe = BcConfig(pretrain_batch=4, batch=4, draws=1)
    config = LearnBcConfig(out=tmp_path / "nano", check_steps=10_000, check_rows=16, minutes=0.02, recipe=recipe)
    learned = train_policy([TASK], [demonstrations(0)], [demonstrations(1)], config)
    facts = Pi0Policy.load(learned.directory).manifest.training
    assert 1 <= facts["steps"] < 500
    assert facts["steps"] == facts["of_steps"]
    assert facts["pretrain_steps"] < facts["steps"]
