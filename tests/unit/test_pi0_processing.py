"""Images, words and numbers on their way into the network and back."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.pi0.processing import (
    Affine,
    Processing,
    Words,
    average_blocks,
    fit_image,
    pixel_values,
    prefix_ids,
    stack_images,
    word_tokenizer,
)
from core.errors import ConfigError, ContractError


@pytest.fixture
def spec() -> Processing:
    unit = Affine(offset=np.zeros(2), scale=np.ones(2))
    return Processing(
        cameras=("front", "wrist"), needs_all_cameras=True, image_px=4, fit="area", tokens_per_image=3, image_token=1,
        text_tokens=6, text_suffix="", bos_token=-1, state_width=4, state=unit, action_width=4, action=unit,
    )  # fmt: skip


@pytest.fixture
def words(spec) -> Words:
    return Words(
        word_tokenizer(["put", "the", "apple", "lemon", "on", "plate", "red", "fruit"]), spec, ("apple", "lemon", "red")
    )


def test_block_average_rounds_half_up():
    image = np.zeros((2, 2, 3), np.uint8)
    image[0, 0], image[0, 1], image[1, 0] = 1, 1, (0, 1, 255)
    assert average_blocks(image, 2).tolist() == [[[1, 1, 64]]]


@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 3]))
def test_block_average_of_many_images_is_that_of_each(seed, factor):
    images = np.random.default_rng(seed).integers(0, 256, (3, 2, 6, 6, 3), dtype=np.uint8)
    together = average_blocks(images, factor)
    assert together.dtype == np.uint8
    assert np.array_equal(together[1, 1], average_blocks(images[1, 1], factor))
    assert np.abs(together.mean() - images.mean()) < 1.0


def test_an_image_of_the_right_size_is_left_alone():
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    assert fit_image(image, 4, "area") is image


def test_a_size_that_is_no_multiple_is_resized():
    image = np.full((10, 10, 3), 77, np.uint8)
    assert np.array_equal(fit_image(image, 4, "area"), np.full((4, 4, 3), 77))


def test_an_oblong_image_is_refused_where_squares_were_trained():
    with pytest.raises(ContractError, match="640x480"):
        fit_image(np.zeros((480, 640, 3), np.uint8), 96, "area")


def test_padding_keeps_the_aspect_ratio_and_centres():
    image = np.full((30, 60, 3), 200, np.uint8)
    padded = fit_image(image, 20, "pad")
    assert padded.shape == (20, 20, 3)
    assert (padded[5:15] == 200).all()
    assert not padded[:5].any()
    assert not padded[15:].any()


def test_pixels_span_minus_one_to_one_channels_first():
    values = pixel_values(np.array([[[0, 255, 0]]], np.uint8))
    assert values.shape == (3, 1, 1)
    assert values.ravel().tolist() == [-1.0, 1.0, -1.0]


@given(st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=3), st.integers(3, 8))
def test_statistics_round_trip_and_pad_with_zeros(values, width):
    affine = Affine(offset=np.array([1.0, -2.0, 0.5]), scale=np.array([0.1, 3.0, 2.0]))
    value = np.array(values)
    assert np.allclose(affine.denormalise(affine.normalise(value)), value)
    padded = affine.padded(value[None], width)
    assert padded.shape == (1, width)
    assert not padded[0, 3:].any()


def test_a_scale_of_zero_is_refused():
    with pytest.raises(ContractError, match="above 0"):
        Affine(offset=np.zeros(2), scale=np.array([1.0, 0.0]))


def test_words_know_case_and_punctuation(words):
    assert np.array_equal(words.encode("Put the APPLE on the plate."), words.encode("put the apple on the plate"))
    assert (words.encode("apple") > 2).sum() == 1


@pytest.mark.parametrize("text", ["put the banana on the plate", "put the red car on the plate"])
def test_unknown_words_are_refused_with_the_vocabulary(words, text):
    with pytest.raises(ConfigError, match=r"(banana|car).*apple, fruit"):
        words.encode(text)


def test_an_instruction_without_object_is_refused(words):
    with pytest.raises(ConfigError, match="names no object"):
        words.check("put the fruit on the plate")


def test_an_instruction_that_does_not_fit_is_refused(words):
    with pytest.raises(ConfigError, match="7 tokens"):
        words.encode("put the apple on the red plate")


def test_bos_and_suffix_surround_the_words(spec):
    tokenizer = word_tokenizer(["apple", "end"])
    row = Words(tokenizer, replace(spec, bos_token=2, text_suffix=" end")).encode("apple")
    assert row.tolist() == [2, tokenizer.token_to_id("apple"), tokenizer.token_to_id("end"), 0, 0, 0]


def test_prefix_counts_image_tokens_of_present_cameras_only(spec):
    text = np.array([[5, 6, 0, 0, 0, 0], [5, 0, 0, 0, 0, 0]])
    ids, mask = prefix_ids(text, np.array([[True, True], [False, True]]), spec)
    assert (ids == spec.image_token).sum(axis=1).tolist() == [6, 3]
    assert mask.sum(axis=1).tolist() == [8, 4]
    assert mask[1].tolist() == [1, 1, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0]


def test_a_missing_camera_is_refused_or_black(spec):
    shown = [{"front": np.full((8, 8, 3), 9, np.uint8)}]
    with pytest.raises(ContractError, match="wrist"):
        stack_images(shown, spec)
    images, present = stack_images(shown, replace(spec, needs_all_cameras=False))
    assert present.tolist() == [[True, False]]
    assert images.shape == (1, 2, 4, 4, 3)
    assert not images[0, 1].any()
    with pytest.raises(ContractError, match="needs"):
        stack_images([{}], replace(spec, needs_all_cameras=False))
