"""What goes to a chat endpoint and what its answers and refusals mean in plain words. Used by `bridge.chat` only."""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import openai
from openai.types.chat import ChatCompletion, ChatCompletionContentPartParam, ChatCompletionUserMessageParam

from core.arrays import Image, in_range
from core.errors import ConfigError, ContractError
from core.ports import ChatAnswer

_JPEG_QUALITY = 90
_QUOTE_CHARACTERS = 200
_UNREADABLE = (openai.OpenAIError, ValueError, TypeError, AttributeError)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatConfig:
    """Which endpoint to ask, and how."""

    model: str
    """Name of the model, as the endpoint knows it."""
    base_url: str = "https://api.openai.com/v1"
    """Root of the OpenAI-compatible API."""
    deadline_s: float = 20.0
    """From submit to answer [s]."""
    api_key_env: str = "OPENAI_API_KEY"
    """Name of the environment variable that holds the key; a local endpoint needs none."""
    max_answer_tokens: int = 800
    """Longest answer asked for [tokens]."""
    image_format: Literal["jpeg", "png"] = "jpeg"
    """How images travel: jpeg is smaller, png is exact."""
    usd_per_million_prompt_tokens: float = 0.0
    """Price of what is asked [USD]."""
    usd_per_million_completion_tokens: float = 0.0
    """Price of what is answered [USD]."""

    def __post_init__(self) -> None:
        in_range("deadline_s [s]", self.deadline_s, 0.05, 600.0)
        in_range("max_answer_tokens", self.max_answer_tokens, 1, 100_000)
        in_range("usd_per_million_prompt_tokens", self.usd_per_million_prompt_tokens, 0.0, 1e6)
        in_range("usd_per_million_completion_tokens", self.usd_per_million_completion_tokens, 0.0, 1e6)
        if not self.model:
            raise ConfigError("the chat model has no name; give the name the endpoint knows it by")
        if not re.match(r"https?://\S+$", self.base_url):
            raise ConfigError(f"chat endpoint {self.base_url!r} is no URL; give e.g. http://127.0.0.1:8000/v1")
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", self.api_key_env):
            raise ConfigError("api_key_env must be the name of an environment variable, never the key itself")
        if self.image_format not in ("jpeg", "png"):
            raise ConfigError(f"image_format {self.image_format!r}; allowed 'jpeg', 'png'")


def user_message(prompt: str, images: Sequence[Image], image_format: str) -> ChatCompletionUserMessageParam:
    """Returns one user message: the prompt, then the images (H, W, 3) uint8 RGB as data URIs."""
    parts: list[ChatCompletionContentPartParam] = [{"type": "text", "text": prompt}]
    parts.extend({"type": "image_url", "image_url": {"url": data_uri(i, image_format)}} for i in images)
    return {"role": "user", "content": parts}


def data_uri(image: Image, image_format: str) -> str:
    """Returns an RGB image (H, W, 3) uint8 as a base64 data URI in `image_format`, "jpeg" or "png".

    Raises:
        ContractError: The image cannot be encoded.
    """
    options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if image_format == "jpeg" else []
    done, data = cv2.imencode(f".{image_format}", cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2BGR), options)
    if not done:
        raise ContractError(f"an image of shape {image.shape} cannot be encoded as {image_format}")
    return f"data:image/{image_format};base64,{base64.b64encode(data.tobytes()).decode()}"


def answer_of(completion: object, config: ChatConfig, seconds: float) -> ChatAnswer:
    """Returns what a completion says, or why it says nothing; tokens are counted either way.

    Args:
        completion: What the client returned; a foreign server can make it anything.
        config: For the prices.
        seconds: From submit to answer [s].
    """
    if not isinstance(completion, ChatCompletion) or not completion.choices:
        error = f"{config.base_url} answered {_quoted(completion)}, which is no chat completion; check base_url"
        return ChatAnswer(text="", error=error, seconds=seconds)
    usage = completion.usage
    asked, answered = (usage.prompt_tokens or 0, usage.completion_tokens or 0) if usage else (0, 0)
    error = _silence(completion, config)
    return ChatAnswer(
        text="" if error else str(completion.choices[0].message.content),
        error=error,
        prompt_tokens=asked,
        completion_tokens=answered,
        cost_usd=(
            asked * config.usd_per_million_prompt_tokens + answered * config.usd_per_million_completion_tokens
        ) * 1e-6,
        seconds=seconds,
    )  # fmt: skip


def _silence(completion: ChatCompletion, config: ChatConfig) -> str:
    choice = completion.choices[0]
    if choice.message is None:
        return f"{config.base_url} answered {_quoted(completion)}, which holds no message; check base_url"
    if choice.finish_reason == "length":
        return f"the answer of {config.model} was cut off; raise max_answer_tokens ({config.max_answer_tokens})"
    if choice.message.refusal or choice.finish_reason == "content_filter":
        return f"{config.model} refused: {_quoted(choice.message.refusal or 'content filter')}"
    if not choice.message.content:
        return f"{config.model} answered nothing (finish reason {choice.finish_reason!r})"
    return ""


def error_of(error: Exception, config: ChatConfig, key: str) -> str:
    """Returns in plain words what went wrong and what to do; the key never appears in it.

    Args:
        error: Whatever the client or the endpoint raised.
        config: Names the endpoint, the model and the deadline.
        key: Blotted out wherever an endpoint echoes it.
    """
    said = _quoted(_blotted(str(error), key))
    if isinstance(error, openai.APIStatusError):
        return f"{config.base_url} {_status_words(error.status_code, config)}; it said: {said}"
    if isinstance(error, TimeoutError | openai.APITimeoutError):
        return (
            f"{config.base_url} gave no answer within {config.deadline_s:g} s; raise deadline_s or ask a faster model"
        )
    if isinstance(error, openai.APIConnectionError):
        cause = _quoted(_blotted(str(error.__cause__ or error), key))
        return f"{config.base_url} cannot be reached ({cause}); start the server or correct base_url"
    if isinstance(error, _UNREADABLE) and not isinstance(error, ContractError):
        return f"{config.base_url} answered something unreadable ({said}); check that it speaks the OpenAI chat API"
    return f"asking {config.model!r} failed with {type(error).__name__}: {said}"


def _status_words(status: int, config: ChatConfig) -> str:
    words = {
        401: f"refused the key in ${config.api_key_env} (status 401); set that variable to a valid key",
        403: f"forbids {config.model!r} to the key in ${config.api_key_env} (status 403)",
        404: f"knows no model {config.model!r} or no such path (status 404); check model and base_url",
        429: "has no capacity or no credit left (status 429); wait or raise the quota",
    }
    return words.get(status, f"failed with status {status}")


def _blotted(text: str, key: str) -> str:
    return text.replace(key, "***") if len(key) > 4 else text


def _quoted(thing: object) -> str:
    text = " ".join(str(thing).split())
    return repr(text if len(text) <= _QUOTE_CHARACTERS else text[:_QUOTE_CHARACTERS] + "...")
