"""A vision-language model behind any OpenAI-compatible endpoint. Built by `regrasp`, asked by the VLM diagnoser.

One named thread with an event loop does all waiting, so `submit` and `poll` never block a tick and a deadline is the
whole deadline: a request that is late is cancelled wherever it stands, also in the middle of a slow body.
"""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self

import openai
from openai.types.chat import ChatCompletion, ChatCompletionUserMessageParam

from bridge.chat_words import ChatConfig, answer_of, error_of, user_message
from core.arrays import Image
from core.ports import ChatAnswer

__all__ = ["ChatConfig", "OpenAiChat"]

log = logging.getLogger(__name__)

_REFUSED = (openai.BadRequestError, openai.UnprocessableEntityError)
_JOIN_S = 2.0


class OpenAiChat:
    """A `ChatModel` over chat.completions. One question is in flight at most; a newer one replaces it.

    The schema is asked with `response_format`; many servers ignore it and some refuse it. One that refuses is asked
    again once, within the same deadline, with nothing but model and messages, and is spared the schema from then on.
    So the prompt must describe the answer too, and the caller must validate the text.

    Args:
        config: Which endpoint, which model, how long, at what price.
    """

    def __init__(self, config: ChatConfig) -> None:
        self._config = config
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._client: openai.AsyncOpenAI | None = None
        self._pending: tuple[Future[ChatAnswer], float] | None = None
        self._takes_schema = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    @property
    def model_id(self) -> str:
        """Name of the model asked."""
        return self._config.model

    def submit(self, prompt: str, images: Sequence[Image], schema: Mapping[str, Any]) -> None:
        """Asks; returns at once.

        Args:
            prompt: What is asked; must itself say what the answer looks like.
            images: RGB images (H, W, 3) uint8, shown after the prompt in this order.
            schema: JSON schema the answer should follow, which nobody guarantees.
        """
        self._forget()
        question = self._answer(prompt, tuple(images), dict(schema))
        self._pending = asyncio.run_coroutine_threadsafe(question, self._started()), time.monotonic()

    def poll(self) -> ChatAnswer | None:
        """Returns the answer once, else None; past its deadline it answers with an error."""
        if self._pending is None:
            return None
        future, asked_s = self._pending
        seconds = time.monotonic() - asked_s
        if future.done():
            self._pending = None
            return future.result()
        if seconds < self._config.deadline_s:
            return None
        self._forget()
        return ChatAnswer(text="", error=error_of(TimeoutError(), self._config, ""), seconds=seconds)

    def close(self) -> None:
        """Cancels what is in flight and ends the thread; may be called twice, and `submit` starts it again."""
        self._forget()
        if self._loop is None or self._thread is None:
            return
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_JOIN_S)
        if self._thread.is_alive():
            log.warning("thread %s still runs %.1f s after it was told to end", self._thread.name, _JOIN_S)
        self._loop = self._thread = self._client = None

    def _forget(self) -> None:
        if self._pending is not None:
            self._pending[0].cancel()
            self._pending = None

    def _started(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(
                target=self._serve, args=(self._loop,), name=f"chat-{self._config.model}", daemon=True
            )
            self._thread.start()
        return self._loop

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        loop.run_forever()
        loop.run_until_complete(self._hang_up())
        loop.close()

    async def _hang_up(self) -> None:
        questions = asyncio.all_tasks() - {asyncio.current_task()}
        for question in questions:
            question.cancel()
        if questions:
            await asyncio.wait(questions, timeout=_JOIN_S / 2)
        if self._client is not None:
            await self._client.close()

    async def _answer(self, prompt: str, images: tuple[Image, ...], schema: dict[str, Any]) -> ChatAnswer:
        start_s = time.monotonic()
        key = os.environ.get(self._config.api_key_env) or "none"
        try:
            async with asyncio.timeout(self._config.deadline_s):
                message = user_message(prompt, images, self._config.image_format)
                completion = await self._ask(self._connected(key), message, schema)
            return answer_of(completion, self._config, time.monotonic() - start_s)
        except Exception as error:  # whatever an endpoint does becomes words: the loop must go on holding the arm
            words = error_of(error, self._config, key)
            log.warning("chat model=%s error=%s", self._config.model, words)
            return ChatAnswer(text="", error=words, seconds=time.monotonic() - start_s)

    def _connected(self, key: str) -> openai.AsyncOpenAI:
        if self._client is None:
            self._client = openai.AsyncOpenAI(
                api_key=key, base_url=self._config.base_url, timeout=self._config.deadline_s, max_retries=0
            )
        return self._client

    async def _ask(
        self, client: openai.AsyncOpenAI, message: ChatCompletionUserMessageParam, schema: dict[str, Any]
    ) -> ChatCompletion:
        if self._takes_schema:
            try:
                return await client.chat.completions.create(
                    model=self._config.model,
                    messages=[message],
                    temperature=0.0,
                    max_tokens=self._config.max_answer_tokens,
                    response_format={"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}},
                )
            except _REFUSED as refusal:
                log.info(
                    "chat model=%s refused the schema (status %d); asking plainly", self.model_id, refusal.status_code
                )
        completion = await client.chat.completions.create(model=self._config.model, messages=[message])
        self._takes_schema = False
        return completion
