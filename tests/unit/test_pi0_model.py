"""The wrapped network against transformers' own class."""

import numpy as np
import pytest
import torch

from bridge.pi0.model import NanoShape, Pi0Inputs, build_nano
from bridge.pi0.tower import KeypointTower, KeypointTowerConfig
from core.errors import ContractError

SHAPE = NanoShape(vocabulary=12, hidden=32, mlp=48, layers=2, heads=4, kv_heads=2, chunk=4, image_px=32, image_tokens=3)


@pytest.fixture(scope="module")
def network():
    return build_nano(SHAPE, 2, ("apple", "plate"), seed=0).eval()


@pytest.fixture
def rows():
    generator = torch.Generator().manual_seed(1)
    pixels = torch.rand((3, 2, 3, 32, 32), generator=generator) * 2 - 1
    text = torch.tensor([[5, 6, 7, 0], [5, 0, 0, 0], [9, 8, 7, 6]])
    return pixels, text, torch.randn((3, 8), generator=generator), torch.randn((3, 4, 7), generator=generator)


def test_tower_locates_a_bright_spot():
    tower = KeypointTower(KeypointTowerConfig(image_size=32, tokens=1, maps_per_token=1, stem_channels=2)).eval()
    with torch.no_grad():
        for conv in (tower.stem, tower.middle, tower.maps):
            conv.weight.fill_(0.3)
        tower.sharpness.fill_(2.0)
        pixels = torch.zeros((2, 3, 32, 32))
        pixels[0, :, 2:6, 26:30] = 5.0
        pixels[1, :, 26:30, 2:6] = 5.0
        at = tower.keypoints(pixels)[:, 0, :2]
    assert at[0, 0] > 0.4 > -0.4 > at[0, 1]
    assert at[1, 0] < -0.4 < 0.4 < at[1, 1]


def test_sampler_is_that_of_transformers(network, rows):
    pixels, text, state, noise = rows
    prefix = network.read_all(pixels, text)
    ours = network.sample(prefix, state, noise, steps=3)
    ids = torch.cat([torch.ones((3, 6), dtype=torch.int64), text], dim=1)
    theirs = network.pi0.sample_actions(
        state=state, input_ids=ids, pixel_values=pixels, noise=noise, attention_mask=(ids != 0).long(),
        pixel_attention_mask=torch.ones((3, 2), dtype=torch.bool), num_steps=3,
    )  # fmt: skip
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_sampling_leaves_the_prefix_as_it_was(network, rows):
    pixels, text, state, noise = rows
    prefix = network.read_all(pixels, text)
    assert torch.equal(network.sample(prefix, state, noise, 2), network.sample(prefix, state, noise, 2))


def test_flow_loss_is_that_of_transformers_for_every_draw(network, rows):
    pixels, text, state, actions = rows
    noise, time = torch.randn((6, 4, 7)), torch.rand(6)
    with torch.no_grad():
        ours = network.flow_loss(network.read_all(pixels, text), state, actions, noise, time)
        ids = torch.cat([torch.ones((3, 6), dtype=torch.int64), text], dim=1)
        theirs = network.pi0(
            state=state, input_ids=ids, pixel_values=pixels, attention_mask=(ids != 0).long(), actions=actions,
            pixel_attention_mask=torch.ones((3, 2), dtype=torch.bool), noise=noise[1::2], timestep=time[1::2],
        )  # fmt: skip
    assert ours.shape == (6, 4, 7)
    assert torch.allclose(ours[1::2], theirs.loss, atol=1e-4)


def test_words_padding_changes_nothing(network, rows):
    pixels, text, state, noise = rows
    longer = torch.cat([text, torch.zeros((3, 3), dtype=torch.int64)], dim=1)
    short, long = (network.sample(network.read_all(pixels, t), state, noise, 2) for t in (text, longer))
    assert torch.allclose(short, long, atol=1e-5)


def test_the_words_state_does_not_depend_on_the_robot_but_on_the_words(network, rows):
    pixels, text, _, _ = rows
    first, other = network.read_all(pixels, text).text_state, network.read_all(pixels, text.flip(0)).text_state
    assert not torch.allclose(first[0], other[0])


def test_a_wrong_number_of_image_tokens_is_refused(network, rows):
    pixels, text, _, _ = rows
    ids = torch.cat([torch.ones((3, 5), dtype=torch.int64), text], dim=1)
    inputs = Pi0Inputs(
        pixel_values=pixels, camera_mask=torch.ones((3, 2), dtype=torch.bool), input_ids=ids,
        attention_mask=(ids != 0).long(),
    )  # fmt: skip
    with pytest.raises(ContractError, match="3 per camera"):
        network.read(inputs)


def test_readout_speaks_metres(network, rows):
    pixels, text, state, _ = rows
    network.readout.centre_m.copy_(torch.tensor([0.4, 0.0, 0.05]))
    prefix = network.read_all(pixels, text)
    assert network.readout.object_positions(prefix.image_tokens, state).shape == (3, 2, 3)
    named = network.readout.named_positions(prefix.text_state)
    assert named.shape == (3, 2, 3)
    assert float((named - network.readout.centre_m).detach().abs().max()) < 1.0


def test_the_same_seed_builds_the_same_network():
    first, second, third = (build_nano(SHAPE, 2, ("apple",), seed=s).state_dict() for s in (4, 4, 5))
    assert all(torch.equal(first[k], second[k]) for k in first)
    assert any(not torch.equal(first[k], third[k]) for k in first)
    assert np.isfinite(sum(float(v.double().sum()) for v in first.values()))
