"""Many ways to say one instruction: what a policy is told during training, beyond the task's own training templates.

The sentences teach words in many orders and colours without names; sentences and names that a task holds out for
evaluation are left out here. Used by `regrasp` when demonstrations are encoded.
"""

from collections.abc import Sequence
from itertools import product

from core.tasks import ObjectInfo

_VERBS = ("put", "place", "move", "set", "lay", "bring", "drop", "carry", "transfer")
_ONTO = ("on", "onto", "on top of", "to", "over to", "down on")
_PICK = ("pick up the {target}", "pick the {target} up", "take the {target}", "grab the {target}", "get the {target}",
         "lift the {target}", "pick the {target}")  # fmt: skip
_BEFORE = ("", "please ", "now ", "can you ", "you should ")
_STATED = (
    "the {target} goes {onto} the {goal}",
    "the {target} belongs {onto} the {goal}",
    "i want the {target} {onto} the {goal}",
    "{onto} the {goal} goes the {target}",
    "{onto} the {goal} with the {target}",
    "{target} {onto} {goal}",
    "{onto} {goal} {target}",
)
_SHORT = (
    "{target}",
    "the {target}",
    "{target} {goal}",
    "the {goal} needs the {target}",
    "give the {goal} the {target}",
    "for the {goal} the {target}",
    "the {target} please",
)
_BY_COLOUR = ("{0}", "{0} thing", "{0} object", "{0} piece", "one that is {0}", "thing that is {0}")
_BY_KIND = ("{0} that is {1}", "one {1} {0}")


def sentence_patterns() -> tuple[str, ...]:
    """Returns sentences with {target} and {goal} still in them."""
    plain = [
        f"{before}{order}"
        for before, verb, onto in product(_BEFORE, _VERBS, _ONTO)
        for order in (f"{verb} the {{target}} {onto} the {{goal}}", f"{onto} the {{goal}} {verb} the {{target}}")
    ]
    joined = [f"{pick} {link} {verb} it {onto} the {{goal}}"
              for pick, link, verb, onto in product(_PICK, ("and", "then"), _VERBS, _ONTO)]  # fmt: skip
    stated = [s.replace("{onto}", onto) for s, onto in product(_STATED, _ONTO)]
    return tuple(dict.fromkeys([*plain, *joined, *stated, *_SHORT]))


def target_phrases(info: ObjectInfo) -> tuple[str, ...]:
    """Returns phrases for an object: its name, its words, and its colour with words that fit anything.

    The colour is the first of two words, as in "red apple".
    """
    pairs = [w.split() for w in (info.name, *info.words) if len(w.split()) == 2]
    colours = dict.fromkeys(colour for colour, _ in pairs)
    kinds = [p.format(kind, colour) for colour, kind in pairs if kind not in ("one", info.name) for p in _BY_KIND]
    by_colour = [phrase.format(c) for c in colours for phrase in _BY_COLOUR]
    return tuple(dict.fromkeys([info.name, *info.words, *by_colour, *kinds, f"one {info.name}"]))


def training_sentences(info: ObjectInfo, goals: Sequence[str], taught: Sequence[str], held_out: Sequence[str],
                       most_words: int) -> tuple[str, ...]:  # fmt: skip
    """Returns every sentence that may tell a policy in training to take `info`.

    Args:
        info: The object.
        goals: Words for where it belongs.
        taught: Templates the task gives for training; half of what is returned follows them, by repetition.
        held_out: Templates and names (as in `ObjectInfo.words`) that must not appear, not even inside a sentence.
        most_words: Longer sentences are left out.
    """
    names = [p for p in target_phrases(info) if not any(h in p for h in held_out)]
    free = [t for t in sentence_patterns() if t not in taught and not any(h in t for h in held_out)]
    told = _filled(free, names, goals, most_words)
    lessons = _filled(taught, names, goals, most_words)
    return tuple(told + lessons * max(1, round(len(told) / max(1, len(lessons)))))


def polite(taught: Sequence[str], held_out: Sequence[str], most_words: int) -> tuple[str, ...]:
    """Returns a task's own training instructions, as they are and with the words that people put before them.

    Args:
        taught: Training instructions.
        held_out: Instructions that must not appear.
        most_words: Longer sentences are left out.
    """
    texts = dict.fromkeys(f"{before}{text}" for text, before in product(taught, _BEFORE))
    return tuple(t for t in texts if len(t.split()) <= most_words and t not in set(held_out))


def _filled(templates: Sequence[str], names: Sequence[str], goals: Sequence[str], most_words: int) -> list[str]:
    texts = dict.fromkeys(t.format(target=n, goal=g) for t, n, g in product(templates, names, goals))
    return [text for text in texts if len(text.split()) <= most_words]
