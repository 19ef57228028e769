"""`OpenAiChat` against a real local server that behaves well, badly and not at all."""

import base64
import json
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import cv2
import numpy as np
import pytest

from bridge.chat import ChatConfig, OpenAiChat
from core.errors import ConfigError, ContractError
from core.ports import ChatAnswer

SCHEMA = {"type": "object", "properties": {"mode": {"type": "string"}}, "required": ["mode"]}
KEY = "sk-very-secret-0123456789"


@dataclass
class Endpoint:
    """What the server does next, and what it was asked."""

    url: str = ""
    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    refuses_schema: bool = False
    hangs: bool = False
    drips: bool = False
    released: threading.Event = field(default_factory=threading.Event)
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)

    def says(self, content: str | None, **choice: object) -> None:
        message = {"role": "assistant", "content": content, "refusal": choice.pop("refusal", None)}
        self.body = json.dumps({
            "id": "c1", "object": "chat.completion", "created": 1, "model": "m",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop", **choice}],
            "usage": {"prompt_tokens": 1200, "completion_tokens": 50, "total_tokens": 1250},
        }).encode()  # fmt: skip


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        endpoint: Endpoint = self.server.endpoint  # type: ignore[attr-defined]
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        endpoint.asked.append(question)
        endpoint.keys.append(self.headers["Authorization"])
        status, body = endpoint.status, endpoint.body
        if endpoint.refuses_schema and "response_format" in question:
            status, body = 400, b'{"error": {"message": "response_format is not supported"}}'
        if endpoint.hangs:
            endpoint.released.wait(10.0)
        self.send_response(status)
        self.send_header("Content-Type", endpoint.content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:10] if endpoint.drips else body)
        if endpoint.drips:
            endpoint.released.wait(10.0)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state = Endpoint(url=f"http://127.0.0.1:{server.server_port}/v1")
    state.says('{"mode": "drop"}')
    server.endpoint = state  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield state
    state.released.set()
    server.shutdown()
    thread.join(5.0)
    server.server_close()


@pytest.fixture
def chat(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAiChat]:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with OpenAiChat(config(endpoint)) as made:
        yield made


def config(endpoint: Endpoint, **changes: Any) -> ChatConfig:
    return ChatConfig(**{"model": "tiny-vlm", "base_url": endpoint.url, "deadline_s": 10.0, **changes})


def wait_for(chat: OpenAiChat, limit_s: float = 15.0) -> ChatAnswer:
    end, pause = time.monotonic() + limit_s, threading.Event()
    while time.monotonic() < end:
        if (answer := chat.poll()) is not None:
            return answer
        pause.wait(0.002)
    raise AssertionError(f"no answer within {limit_s} s")


def ask(chat: OpenAiChat, images: int = 0) -> ChatAnswer:
    chat.submit("what failed?", [np.full((8, 8, 3), (200, 30, 60), np.uint8)] * images, SCHEMA)
    return wait_for(chat)


def test_a_good_answer_arrives_once_with_tokens_cost_and_time(endpoint: Endpoint) -> None:
    prices = config(endpoint, usd_per_million_prompt_tokens=2.0, usd_per_million_completion_tokens=10.0)
    with OpenAiChat(prices) as chat:
        answer = ask(chat)
        assert (answer.text, answer.error) == ('{"mode": "drop"}', "")
        assert (answer.prompt_tokens, answer.completion_tokens) == (1200, 50)
        assert answer.cost_usd == pytest.approx(1200 * 2e-6 + 50 * 10e-6)
        assert 0.0 < answer.seconds < 10.0
        assert chat.poll() is None
        assert chat.model_id == "tiny-vlm"


@pytest.mark.parametrize("image_format", ["png", "jpeg"])
def test_images_travel_as_data_uris_in_order_and_in_rgb(endpoint: Endpoint, image_format: str) -> None:
    with OpenAiChat(config(endpoint, image_format=image_format)) as chat:
        ask(chat, images=2)
    parts = endpoint.asked[0]["messages"][0]["content"]
    assert [p["type"] for p in parts] == ["text", "image_url", "image_url"]
    head, data = parts[1]["image_url"]["url"].split(",")
    assert head == f"data:image/{image_format};base64"
    decoded = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    assert np.abs(decoded[..., ::-1].astype(int) - (200, 30, 60)).max() <= (0 if image_format == "png" else 6)


def test_the_schema_is_asked_for(endpoint: Endpoint, chat: OpenAiChat) -> None:
    ask(chat)
    assert endpoint.asked[0]["response_format"]["json_schema"]["schema"] == SCHEMA


def test_a_server_that_refuses_the_schema_is_asked_plainly_once_and_spared_it_afterwards(
    endpoint: Endpoint, chat: OpenAiChat
) -> None:
    endpoint.refuses_schema = True
    assert ask(chat).text == ask(chat).text == '{"mode": "drop"}'
    assert ["response_format" in q for q in endpoint.asked] == [True, False, False]


def test_a_server_that_refuses_everything_gets_two_requests_and_the_schema_again_next_time(
    endpoint: Endpoint, chat: OpenAiChat
) -> None:
    endpoint.status, endpoint.body = 400, b'{"error": {"message": "images are not supported"}}'
    answer = ask(chat)
    assert "status 400" in answer.error
    assert "images are not supported" in answer.error
    ask(chat)
    assert ["response_format" in q for q in endpoint.asked] == [True, False, True, False]


@pytest.mark.parametrize(
    ("status", "words"),
    [(500, "status 500"), (401, "$OPENAI_API_KEY"), (403, "forbids"), (404, "tiny-vlm"), (429, "quota")],
)
def test_a_status_becomes_plain_words_and_is_not_retried(
    endpoint: Endpoint, chat: OpenAiChat, status: int, words: str
) -> None:
    endpoint.status, endpoint.body = status, b'{"error": {"message": "no"}}'
    answer = ask(chat)
    assert answer.text == ""
    assert words in answer.error
    assert len(endpoint.asked) == 1


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"<html>hello</html>", "text/html"),
        (b"{broken", "application/json"),
        (b'{"choices": []}', "application/json"),
        (b'{"choices": [{"index": 0}]}', "application/json"),
        (b'{"choices": 7}', "application/json"),
        (b"[]", "application/json"),
        (b"", "application/json"),
    ],
)
def test_nonsense_becomes_an_error_in_words(
    endpoint: Endpoint, chat: OpenAiChat, body: bytes, content_type: str
) -> None:
    endpoint.body, endpoint.content_type = body, content_type
    answer = ask(chat)
    assert answer.text == ""
    assert endpoint.url in answer.error
    assert "check" in answer.error


def test_a_cut_off_answer_is_an_error_that_still_costs(endpoint: Endpoint, chat: OpenAiChat) -> None:
    endpoint.says('{"mode": "dr', finish_reason="length")
    answer = ask(chat)
    assert "cut off" in answer.error
    assert answer.completion_tokens == 50


def test_a_refusal_is_an_error(endpoint: Endpoint, chat: OpenAiChat) -> None:
    endpoint.says(None, refusal="I cannot look at robots")
    assert "I cannot look at robots" in ask(chat).error


def test_an_empty_answer_is_an_error(endpoint: Endpoint, chat: OpenAiChat) -> None:
    endpoint.says("")
    assert "answered nothing" in ask(chat).error


def test_an_absent_server_is_an_error_that_names_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with OpenAiChat(ChatConfig(model="m", base_url="http://127.0.0.1:9/v1", deadline_s=10.0)) as chat:
        answer = ask(chat)
    assert "http://127.0.0.1:9/v1 cannot be reached" in answer.error


@pytest.mark.parametrize("how", ["hangs", "drips"])
def test_a_slow_server_costs_no_more_than_the_deadline(endpoint: Endpoint, how: str) -> None:
    setattr(endpoint, how, True)
    with OpenAiChat(config(endpoint, deadline_s=0.3)) as chat:
        answer = ask(chat)
        assert "no answer within 0.3 s" in answer.error
        assert answer.seconds < 5.0  # the server takes ten
        assert chat.poll() is None


def test_submit_and_poll_return_at_once_while_the_server_hangs(endpoint: Endpoint, chat: OpenAiChat) -> None:
    endpoint.hangs = True
    start = time.monotonic()
    chat.submit("what failed?", [np.zeros((480, 640, 3), np.uint8)] * 8, SCHEMA)
    assert chat.poll() is None
    assert time.monotonic() - start < 2.0  # the server hangs for ten


def test_a_newer_question_replaces_an_older_one(endpoint: Endpoint, chat: OpenAiChat) -> None:
    endpoint.hangs = True
    chat.submit("first", [], SCHEMA)
    endpoint.hangs = False
    endpoint.says("second answer")
    chat.submit("second", [], SCHEMA)
    assert wait_for(chat).text == "second answer"
    assert chat.poll() is None


def test_the_key_is_sent_but_never_told_or_logged(
    endpoint: Endpoint, chat: OpenAiChat, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    endpoint.status = 401
    endpoint.body = json.dumps({"error": {"message": "x" * 170 + f" bad key {KEY}"}}).encode()
    answer = ask(chat)
    assert endpoint.keys == [f"Bearer {KEY}"]
    assert KEY[:12] not in answer.error
    assert KEY not in caplog.text.replace(endpoint.body.decode(), "")


def test_without_a_key_a_local_server_is_asked_all_the_same(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with OpenAiChat(config(endpoint)) as chat:
        assert ask(chat).error == ""
    assert endpoint.keys == ["Bearer none"]


def test_close_ends_the_thread_even_while_the_server_hangs(endpoint: Endpoint) -> None:
    endpoint.hangs = True
    chat = OpenAiChat(config(endpoint, model="closing"))
    chat.submit("q", [], SCHEMA)
    assert [t.name for t in threading.enumerate()].count("chat-closing") == 1
    chat.close()
    chat.close()
    assert "chat-closing" not in [t.name for t in threading.enumerate()]
    assert chat.poll() is None


def test_many_questions_share_one_thread(endpoint: Endpoint) -> None:
    with OpenAiChat(config(endpoint, model="busy")) as chat:
        for _ in range(20):
            chat.submit("q", [], SCHEMA)
        assert [t.name for t in threading.enumerate()].count("chat-busy") == 1
        assert wait_for(chat).error == ""


@pytest.mark.parametrize(
    "change",
    [{"model": ""}, {"base_url": "localhost:8000"}, {"api_key_env": "sk-abc.def"}, {"image_format": "bmp"}],
)
def test_a_wrong_setting_is_refused_with_a_remedy(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        ChatConfig(**{"model": "m", **change})


def test_a_deadline_of_zero_is_refused() -> None:
    with pytest.raises(ContractError, match="deadline_s"):
        ChatConfig(model="m", deadline_s=0.0)
