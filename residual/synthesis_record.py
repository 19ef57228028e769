"""Every exchange with a model, kept: asked again later, a recorded dialogue says what it said and nothing is asked.

A folder holds `exchanges/001.json`, `002.json`, ... and the pictures that were shown, each once, as `frames/SHA.png`:
pixels as they were, so that their hash can be checked. Called by `synthesis_dialogue` through a `ChatModel` of its own.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pictures

from core.arrays import Image
from core.errors import ArtifactError, ConfigError
from core.ports import ChatAnswer, ChatModel
from residual.reading import Spot, read_json
from residual.synthesis_case import picture_sha256

EXCHANGE_FORMAT = "regrasp-exchange@1"
_FOLDER, _FRAMES = "exchanges", "frames"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One question and what came of it."""

    model_id: str
    query: str
    repair: bool
    """Whether it asks again after an answer that was refused."""
    prompt: str
    pictures: tuple[str, ...]
    """SHA-256 of every picture shown, in order."""
    answer: ChatAnswer
    problem: str
    """Why the answer was refused or did not come, "" when it was taken."""

    @property
    def prompt_sha256(self) -> str:
        """SHA-256 of the prompt, hex."""
        return prompt_sha256(self.prompt)


def prompt_sha256(prompt: str) -> str:
    """Returns the SHA-256 of a prompt, hex."""
    return sha256(prompt.encode()).hexdigest()


class ExchangeFolder:
    """Where the exchanges of one dialogue lie.

    Args:
        root: Made when something is written.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self) -> tuple[Exchange, ...]:
        """Returns what is there, in order; () when nothing.

        Raises:
            ArtifactError: A file is damaged, foreign or missing in between.
        """
        files = sorted((self._root / _FOLDER).glob("*.json"))
        for number, path in enumerate(files, start=1):
            if path.name != _name(number):
                raise ArtifactError(f"{path.parent} lacks {_name(number)}; delete the folder to ask again")
        return tuple(_read(path) for path in files)

    def add(self, exchange: Exchange, pictures: Sequence[Image]) -> None:
        """Writes one more exchange; its pictures first, so that it never names one that is not there."""
        folder = self._root / _FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        for name, picture in zip(exchange.pictures, pictures, strict=True):
            self._keep(name, picture)
        path = folder / _name(len(list(folder.glob("*.json"))) + 1)
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(_data(exchange), indent=1) + "\n")
        os.replace(fresh, path)

    def picture(self, name: str) -> Image:
        """Returns a picture that was shown, checked against its hash; raises `ArtifactError`."""
        path = self._root / _FRAMES / f"{name}.png"
        try:
            with Pictures.open(path) as opened:
                found = np.asarray(opened.convert("RGB"))
        except OSError as error:
            raise ArtifactError(f"cannot read {path}: {error}") from error
        if picture_sha256(found) != name:
            raise ArtifactError(f"{path} is not the picture that was shown; it was changed")
        return found

    def forget_after(self, count: int) -> None:
        """Deletes every exchange but the first `count`."""
        for path in sorted((self._root / _FOLDER).glob("*.json"))[count:]:
            path.unlink()

    def _keep(self, name: str, picture: Image) -> None:
        path = self._root / _FRAMES / f"{name}.png"
        if path.is_file():
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(".new")
        Pictures.fromarray(picture).save(fresh, format="png")
        os.replace(fresh, path)


class RecordedChat:
    """A `ChatModel` that says what was recorded as long as it is asked the same, then passes questions on.

    Args:
        exchanges: Recorded, in order.
        then: Who is asked what was not recorded; None: nobody, every such question ends in an error.
        model_id: Who is thought to be asked, when `then` is None.
    """

    def __init__(self, exchanges: Sequence[Exchange], then: ChatModel | None, *, model_id: str = "") -> None:
        self._left, self._then = list(exchanges), then
        self._model_id = model_id or (exchanges[0].model_id if exchanges else "")
        self._ready: ChatAnswer | None = None
        self._passed = False

    @property
    def model_id(self) -> str:
        """Name of the model asked."""
        return self._model_id if self._then is None else self._then.model_id

    @property
    def replaying(self) -> bool:
        """Whether there is more on record."""
        return bool(self._left)

    def submit(self, prompt: str, images: Sequence[Image], schema: Mapping[str, Any]) -> None:
        """Takes the next answer on record, or asks.

        Raises:
            ArtifactError: Something else is on record at this place.
        """
        self._ready, self._passed = None, False
        if self._left:
            self._ready = _said(self._left.pop(0), prompt, images)
        elif self._then is not None:
            self._then.submit(prompt, images, schema)
            self._passed = True
        else:
            self._ready = ChatAnswer(text="", error="the recorded dialogue ends here and there is no model to ask")

    def poll(self) -> ChatAnswer | None:
        """Returns the answer once, else None."""
        if self._passed and self._then is not None:
            return self._then.poll()
        answer, self._ready = self._ready, None
        return answer


def _said(exchange: Exchange, prompt: str, images: Sequence[Image]) -> ChatAnswer:
    same = exchange.prompt == prompt and exchange.pictures == tuple(picture_sha256(i) for i in images)
    if not same:
        raise ArtifactError(
            f"another question is on record ({exchange.query}, prompt {exchange.prompt_sha256[:12]}, asked now "
            f"{prompt_sha256(prompt)[:12]}); give another folder, or delete this one to ask again"
        )
    return exchange.answer


def _name(number: int) -> str:
    return f"{number:03d}.json"


def _data(exchange: Exchange) -> dict[str, Any]:
    return {
        "format": EXCHANGE_FORMAT, "model_id": exchange.model_id, "query": exchange.query, "repair": exchange.repair,
        "prompt_sha256": exchange.prompt_sha256, "prompt": exchange.prompt,
        "pictures": [{"sha256": p, "file": f"{_FRAMES}/{p}.png"} for p in exchange.pictures],
        "answer": asdict(exchange.answer), "problem": exchange.problem,
    }  # fmt: skip


_KEYS = ("format", "model_id", "query", "repair", "prompt_sha256", "prompt", "pictures", "answer", "problem")


def _read(path: Path) -> Exchange:
    try:
        spots = read_json(path.name, path.read_text()).keys(_KEYS)
        spots["format"].one_of([EXCHANGE_FORMAT])
        exchange = Exchange(
            model_id=spots["model_id"].text(),
            query=spots["query"].text(),
            repair=spots["repair"].value is True,
            prompt=spots["prompt"].text(),
            pictures=tuple(s.keys(("sha256", "file"))["sha256"].text() for s in spots["pictures"].items()),
            answer=_answer(spots["answer"]),
            problem=spots["problem"].text(),
        )
    except (ConfigError, OSError, UnicodeError) as error:
        raise ArtifactError(f"{path} is damaged or foreign: {error}") from error
    if exchange.prompt_sha256 != spots["prompt_sha256"].value:
        raise ArtifactError(f"{path} was edited: its prompt does not match its hash")
    return exchange


def _answer(spot: Spot) -> ChatAnswer:
    keys = ("text", "error", "prompt_tokens", "completion_tokens", "cost_usd", "seconds")
    spots = spot.keys(keys)
    return ChatAnswer(
        text=spots["text"].text(),
        error=spots["error"].text(),
        prompt_tokens=spots["prompt_tokens"].count(),
        completion_tokens=spots["completion_tokens"].count(),
        cost_usd=spots["cost_usd"].number(0.0, 1e9),
        seconds=spots["seconds"].number(0.0, 1e9),
    )
