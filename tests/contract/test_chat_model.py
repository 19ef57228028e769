"""What every `ChatModel` must keep."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from bridge.chat import ChatConfig, OpenAiChat
from core.fakes import FakeChat
from core.ports import ChatAnswer, ChatModel

IMAGE = np.zeros((8, 8, 3), np.uint8)


class Echo(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text = question["messages"][0]["content"][0]["text"]
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        body = json.dumps(
            {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def endpoint() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    thread.join(5.0)
    server.server_close()


@pytest.fixture(params=["openai", "fake"])
def chat(request: pytest.FixtureRequest, endpoint: str) -> Iterator[ChatModel]:
    if request.param == "fake":
        yield FakeChat(["first", "second"], polls=3)
        return
    with OpenAiChat(ChatConfig(model="echo", base_url=endpoint, deadline_s=10.0)) as made:
        yield made


def wait_for(chat: ChatModel) -> ChatAnswer:
    end, pause = time.monotonic() + 15.0, threading.Event()
    while time.monotonic() < end:
        if (answer := chat.poll()) is not None:
            return answer
        pause.wait(0.001)
    raise AssertionError("no answer within 15 s")


def test_it_is_a_chat_model_with_a_name(chat: ChatModel) -> None:
    assert isinstance(chat, ChatModel)
    assert chat.model_id


def test_there_is_no_answer_without_a_question(chat: ChatModel) -> None:
    assert chat.poll() is None


def test_an_answer_comes_once(chat: ChatModel) -> None:
    chat.submit("first", [IMAGE], {"type": "object"})
    answer = wait_for(chat)
    assert (answer.text, answer.error) == ("first", "")
    assert chat.poll() is None


def test_a_newer_question_replaces_an_older_one(chat: ChatModel) -> None:
    chat.submit("first", [], {"type": "object"})
    chat.submit("second", [IMAGE, IMAGE], {"type": "object"})
    assert wait_for(chat).text == "second"
    assert chat.poll() is None


def test_it_can_be_asked_again(chat: ChatModel) -> None:
    chat.submit("first", [], {"type": "object"})
    wait_for(chat)
    chat.submit("second", [], {"type": "object"})
    assert wait_for(chat).text == "second"
