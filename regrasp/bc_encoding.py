"""Demonstrations as pi0-nano wants them: vocabulary, statistics, encoded rows. Called by `regrasp.learn_bc`.

Several tasks share one network. An *order* is one thing that a task may be told to do: fetch this fruit or that one.
"""

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
from core.subtasks import Manner
from core.tasks import ObjectInfo, TaskInfo
from residual.bc_data import BcData, Pictures, chunk_rows
from residual.bc_phrases import polite, training_sentences

MOST_WORDS = 18
"""Longest instruction [words]."""
IMAGE_TOKEN = 1
SMALLEST_STATE_SPREAD = np.array([0.02, 0.02, 0.02, 0.05, 0.05, 0.05, 0.1, 0.1])
"""Below this a state dim is divided by this, not by its own spread: m, rad and gripper opening."""
SMALLEST_ACTION_SPREAD = 0.15
"""The same for actions on [-1, 1]: else noise of unused dims would count as much as motion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One thing that a task may be told to do, and how that is said."""

    target: str
    """Object that the instruction names, "" when it names none."""
    sentences: tuple[str, ...]
    """For training; with repetition, see `training_sentences`."""
    taught: tuple[str, ...]
    """The task's own training instructions."""
    held_out: tuple[str, ...]
    """The task's other instructions; nothing like them is trained on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lessons:
    """What there is to say in one task."""

    info: TaskInfo
    orders: tuple[Order, ...]

    def number(self, instruction: str) -> int:
        """Returns which order an instruction gives."""
        if not self.info.names_target:
            return 0
        target = self.info.named(instruction)
        return next(k for k, order in enumerate(self.orders) if order.target == target)

    def object_words(self) -> set[str]:
        """Returns single words that tell this task's targets apart, none when no target is named."""
        things = [o for o in self.info.objects if o.graspable] if self.info.names_target else []
        return {word for o in things for word in (o.name.split()[0], *(n.split()[0] for n in o.words))}


def vocabulary(lessons: Sequence[Lessons]) -> tuple[str, ...]:
    """Returns every word of every sentence, sorted."""
    texts = [t for lesson in lessons for o in lesson.orders for t in (*o.sentences, *o.taught, *o.held_out)]
    return tuple(sorted({word for text in texts for word in split_words(text)}))


def lessons_of(info: TaskInfo, told: Sequence[str]) -> Lessons:
    """Returns the lessons of a task; a template or name is held out when the demonstrations never use it.

    Args:
        info: The task.
        told: Instructions of the demonstrations.
    """
    things = [o for o in info.objects if o.graspable] if info.names_target else [None]
    return Lessons(info=info, orders=tuple(_order(info, thing, told) for thing in things))


def _order(info: TaskInfo, thing: ObjectInfo | None, told: Sequence[str]) -> Order:
    goals = _names(next(o for o in info.objects if o.name == info.goal)) if info.goal else ("",)
    names = _names(thing) if thing else ("",)
    spoken = [n for n in names if not n or any(f" {n} " in f" {text} " for text in told)]
    every = _fill(info.templates, names, goals)
    half = info.templates[: (len(info.templates) + 1) // 2]
    taught = tuple(t for t in _fill(half, spoken, goals) if t in set(told)) or _fill(half, spoken, goals)
    held_out = tuple(text for text in every if text not in _fill(half, spoken, goals))
    avoid = [*info.templates[len(half) :], *(n for n in names if n not in spoken)]
    plain = [s.manner for s in info.subtasks] == [Manner.PLACE]
    sentences = (
        training_sentences(thing, goals, half, avoid, MOST_WORDS)
        if thing is not None and plain
        else polite(_fill(half, spoken, goals), held_out, MOST_WORDS)
    )
    return Order(target=thing.name if thing else "", sentences=sentences, taught=taught, held_out=held_out)


def _names(thing: ObjectInfo) -> tuple[str, ...]:
    return (thing.name, *thing.words)


def _fill(templates: Sequence[str], names: Sequence[str], goals: Sequence[str]) -> tuple[str, ...]:
    texts = (t.format(target=n, goal=g) for t, n, g in product(templates, names, goals))
    return tuple(dict.fromkeys(texts))


def statistics(demos: Sequence[Demonstrations]) -> tuple[Affine, Affine]:
    """Returns the statistics of proprioception and of actions, both in their own units, each task counting the same."""
    half_range = (EE_DELTA.high - EE_DELTA.low) / 2
    state, state_spread = _moments([d.proprio for d in demos])
    action, action_spread = _moments([d.actions for d in demos])
    unit = action_spread / half_range
    return (
        Affine(offset=state, scale=np.maximum(state_spread, SMALLEST_STATE_SPREAD)),
        Affine(offset=action, scale=half_range * np.maximum(unit, SMALLEST_ACTION_SPREAD)),
    )


def _moments(parts: Sequence[Floats]) -> tuple[Floats, Floats]:
    mean = np.mean([p.mean(axis=0) for p in parts], axis=0)
    return mean, np.sqrt(np.mean([((p - mean) ** 2).mean(axis=0) for p in parts], axis=0))


def nano_processing(demos: Sequence[Demonstrations], image_tokens: int) -> Processing:
    """Returns how pi0-nano reads the world of these demonstrations.

    Args:
        demos: Training demonstrations of every task; the statistics are theirs.
        image_tokens: Tokens per camera.
    """
    state, action = statistics(demos)
    return Processing(
        cameras=demos[0].cameras,
        needs_all_cameras=True,
        image_px=demos[0].images.shape[2],
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


def nano_manifest(lessons: Sequence[Lessons], spec: Processing, readout_objects: tuple[str, ...],
                  training: Mapping[str, float | int | str]) -> Manifest:  # fmt: skip
    """Returns the manifest of pi0-nano: zero noise, 3 steps, `EE_DELTA` actions.

    Args:
        lessons: Of every task.
        spec: From `nano_processing`.
        readout_objects: From `seen_objects`, of every task.
        training: Seeds and figures for people.
    """
    words = (
        set[str]() if any(not x.info.names_target for x in lessons) else {w for x in lessons for w in x.object_words()}
    )
    return Manifest(
        name="pi0-nano",
        task=" ".join(x.info.name for x in lessons),
        processing=spec,
        noise="zero",
        steps=3,
        action_names=EE_DELTA.names,
        dt_s=EE_DELTA.dt_s,
        state_names=proprio_names(),
        object_words=tuple(sorted(words)),
        readout_objects=readout_objects,
        training=training,
    )


def nano_tokenizer(lessons: Sequence[Lessons]) -> Tokenizer:
    """Returns the word tokenizer of all lessons."""
    return word_tokenizer(vocabulary(lessons))


def encode_texts(tokenizer: Tokenizer, spec: Processing, texts: Sequence[str]) -> Ints:
    """Returns ids (P, text_tokens) of instructions."""
    words = Words(tokenizer, spec)
    return np.stack([words.encode(text) for text in texts]) if texts else np.zeros((0, spec.text_tokens), np.int64)


def encode_lessons(lessons: Sequence[Lessons], spec: Processing, tokenizer: Tokenizer) -> tuple[tuple[Ints, ...], ...]:
    """Returns ids of the training sentences by task and order, each (P, text_tokens).

    Args:
        lessons: Of every task.
        spec: How long a sentence may be.
        tokenizer: From `nano_tokenizer`.
    """
    return tuple(tuple(encode_texts(tokenizer, spec, o.sentences) for o in x.orders) for x in lessons)


def encode_demonstrations(
    demos: Demonstrations, lessons: Lessons, manifest: Manifest, *, task: int, phrases: tuple[tuple[Ints, ...], ...],
    chunk: int, corrects: bool = False,
) -> BcData:  # fmt: skip
    """Returns the pictured rows of one task's demonstrations for `residual.bc`.

    Args:
        demos: Recorded ones, with images.
        lessons: Of the task.
        manifest: Statistics, sizes, and which objects to locate.
        task: Number of the task among all.
        phrases: From `encode_lessons`.
        chunk: T, actions in a chunk.
        corrects: Whether these correct the policy's own way, see `regrasp.learn_corrections`.
    """
    spec, rows = manifest.processing, demos.pictured
    actions, valid, step = chunk_rows(demos.actions, demos.episode, chunk)
    step = step + (demos.starts[demos.episode] if len(demos.starts) else 0)
    numbers = np.array([lessons.number(text) for text in demos.instructions], dtype=np.int64)
    objects, present = _objects(demos, lessons.info.name, manifest.readout_objects)
    return BcData(
        pictures=Pictures([demos.images]),
        states=spec.state.normalise(demos.proprio[rows]).astype(np.float32),
        chunks=spec.action.normalise(actions[rows]).astype(np.float32),
        valid=valid[rows],
        step=step[rows],
        objects_m=objects[rows],
        present=present[rows],
        task=np.full(len(rows), task, dtype=np.int64),
        order=numbers[demos.episode[rows]],
        named_m=_named(demos, lessons)[rows],
        corrects=np.full(len(rows), corrects),
        phrases=phrases,
    )


def _objects(demos: Demonstrations, task: str, names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Returns where the objects of all tasks are (M, O, 3) [m], and which are there (M, O)."""
    objects = np.zeros((len(demos.episode), len(names), 3), dtype=np.float32)
    present = np.zeros(objects.shape[:2], dtype=bool)
    for k, name in enumerate(demos.object_names):
        if f"{task}/{name}" in names:
            at = names.index(f"{task}/{name}")
            objects[:, at], present[:, at] = demos.objects_in_base[:, k], demos.objects_in_base[:, k, 2] > 0
    return objects, present


def _named(demos: Demonstrations, lessons: Lessons) -> np.ndarray:
    """Returns present target and goal of every row for every order of the task, shape (M, R, 2, 3) [m]."""
    where, found = demos.objects_in_base, []
    for order in lessons.orders:
        course = lessons.info.course(_example(order))
        now = np.minimum(course.progress(where), len(course.subtasks) - 1)
        roles = [(course.names.index(s.roles.target), course.names.index(s.roles.goal or s.roles.target))
                 for s in course.subtasks]  # fmt: skip
        index = np.array(roles)[now]
        found.append(where[np.arange(len(where))[:, None], index])
    return np.stack(found, axis=1).astype(np.float32)


def _example(order: Order) -> str:
    return order.taught[0]


def seen_objects(demos: Demonstrations, task: str) -> tuple[str, ...]:
    """Returns "task/object" of what demonstrations ever show on the table, in their order; parked ones lie below it."""
    shown = demos.objects_in_base[..., 2].max(axis=0) > 0
    return tuple(f"{task}/{name}" for i, name in enumerate(demos.object_names) if shown[i])


def planned_move(spec: Processing, chunks: Floats) -> Floats:
    """Returns the displacement x and y (E, 2) [m] that normalised chunks (E, T, A) ask for."""
    return np.asarray(spec.action.denormalise(chunks)[..., :2].sum(axis=1))
