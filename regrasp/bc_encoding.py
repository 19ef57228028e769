"""Demonstrations as pi0-nano wants them: vocabulary, statistics, encoded rows. Called by `regrasp.learn_bc`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from tokenizers import Tokenizer

from bridge.pi0.checkpoint import Manifest
from bridge.pi0.processing import Affine, Processing, Words, split_words, word_tokenizer
from core.arrays import Floats, Ints
from core.demonstrations import Demonstrations, proprio_names
from core.robots import EE_DELTA
from core.tasks import ObjectInfo, TaskInfo
from residual.bc_data import BcData, chunk_rows
from residual.bc_phrases import training_sentences

MOST_WORDS = 14
"""Longest instruction [words]."""
IMAGE_TOKEN = 1
SMALLEST_STATE_SPREAD = np.array([0.02, 0.02, 0.02, 0.05, 0.05, 0.05, 0.1, 0.1])
"""Below this a state dim is divided by this, not by its own spread: m, rad and gripper opening."""
SMALLEST_ACTION_SPREAD = 0.15
"""The same for actions on [-1, 1]: else noise of unused dims would count as much as motion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lessons:
    """What there is to say in a task, by object name."""

    sentences: Mapping[str, tuple[str, ...]]
    """For training; with repetition, see `training_sentences`."""
    taught: Mapping[str, tuple[str, ...]]
    """The task's own training instructions."""
    held_out: Mapping[str, tuple[str, ...]]
    """The task's other instructions; nothing like them is trained on."""
    object_words: tuple[str, ...]
    """Single words that tell objects apart."""

    def vocabulary(self) -> tuple[str, ...]:
        """Returns every word of every sentence, sorted."""
        texts = [t for table in (self.sentences, self.held_out) for told in table.values() for t in told]
        return tuple(sorted({word for text in texts for word in split_words(text)}))


def lessons_of(info: TaskInfo, told: Sequence[str]) -> Lessons:
    """Returns the lessons of a task; a template or name is held out when the demonstrations never use it.

    Args:
        info: The task.
        told: Instructions of the demonstrations.
    """
    goals = _names(next(o for o in info.objects if o.name == info.goal))
    templates = info.templates[: (len(info.templates) + 1) // 2]
    sentences, taught, held_out, words = {}, {}, {}, set()
    for thing in (o for o in info.objects if o.graspable):
        spoken = [n for n in _names(thing) if any(f" {n} " in f" {text} " for text in told)]
        hidden = [n for n in _names(thing) if n not in spoken]
        avoid = [*info.templates[len(templates) :], *hidden]
        sentences[thing.name] = training_sentences(thing, goals, templates, avoid, MOST_WORDS)
        taught[thing.name] = _fill(templates, spoken, goals)
        every = _fill(info.templates, _names(thing), goals)
        held_out[thing.name] = tuple(text for text in every if text not in taught[thing.name])
        words |= {thing.name, *(n.split()[0] for n in thing.words)}
    return Lessons(sentences=sentences, taught=taught, held_out=held_out, object_words=tuple(sorted(words)))


def _names(thing: ObjectInfo) -> tuple[str, ...]:
    return (thing.name, *thing.words)


def _fill(templates: Sequence[str], names: Sequence[str], goals: Sequence[str]) -> tuple[str, ...]:
    return tuple(t.format(target=n, goal=g) for t, n, g in product(templates, names, goals))


def statistics(demos: Demonstrations) -> tuple[Affine, Affine]:
    """Returns the statistics of proprioception and of actions, both in their own units."""
    spread = np.maximum(demos.proprio.std(axis=0), SMALLEST_STATE_SPREAD)
    unit = EE_DELTA.normalise(demos.actions)
    half_range = (EE_DELTA.high - EE_DELTA.low) / 2
    return (
        Affine(offset=demos.proprio.mean(axis=0), scale=spread),
        Affine(
            offset=demos.actions.mean(axis=0), scale=half_range * np.maximum(unit.std(axis=0), SMALLEST_ACTION_SPREAD)
        ),
    )


def nano_processing(demos: Demonstrations, image_tokens: int) -> Processing:
    """Returns how pi0-nano reads the world of these demonstrations.

    Args:
        demos: Training demonstrations; the statistics are theirs.
        image_tokens: Tokens per camera.
    """
    state, action = statistics(demos)
    return Processing(
        cameras=demos.cameras,
        needs_all_cameras=True,
        image_px=demos.images.shape[2],
        fit="area",
        tokens_per_image=image_tokens,
        image_token=IMAGE_TOKEN,
        text_tokens=MOST_WORDS,
        text_suffix="",
        bos_token=-1,
        state_width=state.offset.size,
        state=state,
        action_width=action.offset.size,
        action=action,
    )


def nano_manifest(task: str, lessons: Lessons, spec: Processing, readout_objects: tuple[str, ...],
                  training: Mapping[str, float | int | str]) -> Manifest:  # fmt: skip
    """Returns the manifest of pi0-nano: zero noise, 3 steps, `EE_DELTA` actions.

    Args:
        task: Name of the task.
        lessons: Its words.
        spec: From `nano_processing`.
        readout_objects: Objects of the demonstrations, in order.
        training: Seeds and figures for people.
    """
    return Manifest(
        name="pi0-nano",
        task=task,
        processing=spec,
        noise="zero",
        steps=3,
        action_names=EE_DELTA.names,
        dt_s=EE_DELTA.dt_s,
        state_names=proprio_names(),
        object_words=lessons.object_words,
        readout_objects=readout_objects,
        training=training,
    )


def nano_tokenizer(lessons: Lessons) -> Tokenizer:
    """Returns the word tokenizer of a task's lessons."""
    return word_tokenizer(lessons.vocabulary())


def encode_texts(tokenizer: Tokenizer, spec: Processing, texts: Sequence[str]) -> Ints:
    """Returns ids (P, text_tokens) of instructions."""
    words = Words(tokenizer, spec)
    return np.stack([words.encode(text) for text in texts]) if texts else np.zeros((0, spec.text_tokens), np.int64)


def encode_lessons(lessons: Lessons, manifest: Manifest, tokenizer: Tokenizer) -> tuple[Ints, ...]:
    """Returns ids of the training sentences of every object of the manifest, each (P, text_tokens); P may be 0.

    Args:
        lessons: Training sentences by object.
        manifest: Which objects, and how long a sentence may be.
        tokenizer: From `nano_tokenizer`.
    """
    told = (lessons.sentences.get(name, ()) for name in manifest.readout_objects)
    return tuple(encode_texts(tokenizer, manifest.processing, texts) for texts in told)


def encode_demonstrations(
    demos: Demonstrations, manifest: Manifest, *, phrases: tuple[Ints, ...], goal: str, chunk: int
) -> BcData:
    """Returns demonstrations as rows for `residual.bc`.

    Args:
        demos: Recorded ones, with images.
        manifest: Statistics, sizes, and which objects to locate.
        phrases: From `encode_lessons`.
        goal: Name of the object that targets belong on.
        chunk: T, actions in a chunk.
    """
    spec, names = manifest.processing, manifest.readout_objects
    kept = np.array([demos.object_names.index(name) for name in names])
    objects = demos.objects_in_base[:, kept]
    actions, valid, step = chunk_rows(demos.actions, demos.episode, chunk)
    order = np.unique(demos.episode, return_inverse=True)[1]
    return BcData(
        images=demos.images,
        states=spec.state.normalise(demos.proprio).astype(np.float32),
        chunks=spec.action.normalise(actions).astype(np.float32),
        valid=valid,
        step=step,
        objects_m=objects.astype(np.float32),
        present=objects[..., 2] > 0,
        target=np.searchsorted(kept, demos.target_index)[order],
        goal=names.index(goal),
        phrases=phrases,
    )


def seen_objects(demos: Demonstrations) -> tuple[str, ...]:
    """Returns the objects that demonstrations ever show on the table, in their order; parked ones lie below it."""
    shown = demos.objects_in_base[..., 2].max(axis=0) > 0
    return tuple(name for i, name in enumerate(demos.object_names) if shown[i])


def planned_move(spec: Processing, chunks: Floats) -> Floats:
    """Returns the displacement x and y (E, 2) [m] that normalised chunks (E, T, A) ask for."""
    return np.asarray(spec.action.denormalise(chunks)[..., :2].sum(axis=1))
