"""An OpenAI-compatible server whose model knows nothing but keeps to the schema it is given, as if by a grammar.

Run as a process: `python schema_server.py [--wild N] [--bold P]`. It prints its address. The first N answers to every
question ignore the schema; a key that may be left out is given with probability P. What it says depends on the question
alone.
"""

import argparse
import json
import random
import sys
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

WORDS = ("the", "hand", "closed", "beside", "it", "so", "open", "and", "come", "from", "above", "os.system('reboot')")


class Model:
    """Draws an answer from a schema."""

    def __init__(self, schema: dict[str, Any], seed: str, bold: float) -> None:
        self._schema, self._random, self._bold = schema, random.Random(seed), bold

    def answer(self) -> Any:
        return self._draw(self._schema)

    def _draw(self, schema: dict[str, Any]) -> Any:
        if "$ref" in schema:
            return self._draw(self._schema["$defs"][schema["$ref"].rsplit("/", 1)[-1]])
        if "anyOf" in schema:
            return self._draw(self._random.choice(schema["anyOf"]))
        if "enum" in schema:
            return self._random.choice(schema["enum"])
        return getattr(self, "_" + schema["type"])(schema)

    def _object(self, schema: dict[str, Any]) -> dict[str, Any]:
        required = schema.get("required", [])
        kept = [k for k in schema["properties"] if k in required or self._random.random() < self._bold]
        return {k: self._draw(schema["properties"][k]) for k in kept}

    def _array(self, schema: dict[str, Any]) -> list[Any]:
        names = schema["items"].get("properties", {}).get("term", {}).get("enum", [])
        if names:
            return [{**self._draw(schema["items"]), "term": name} for name in names]
        return [self._draw(schema["items"]) for _ in range(max(schema.get("minItems", 0), self._random.randint(0, 3)))]

    def _string(self, schema: dict[str, Any]) -> str:
        return " ".join(self._random.choices(WORDS, k=8))[: schema.get("maxLength", 100)]

    def _number(self, schema: dict[str, Any]) -> float:
        return round(self._random.uniform(schema["minimum"], schema["maximum"]), 4)


class Handler(BaseHTTPRequestHandler):
    wild, bold = 0, 0.0

    def do_POST(self) -> None:
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text = question["messages"][0]["content"][0]["text"]
        again = text.count("It was refused")
        schema = question.get("response_format", {}).get("json_schema", {}).get("schema")
        said = "I would simply try again." if schema is None or again < self.wild else self._said(schema, text)
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": said}}
        body = json.dumps({
            "id": "1", "object": "chat.completion", "created": 1, "model": question["model"], "choices": [choice],
            "usage": {"prompt_tokens": len(text) // 4, "completion_tokens": len(said) // 4, "total_tokens": 0},
        }).encode()  # fmt: skip
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _said(self, schema: dict[str, Any], text: str) -> str:
        found = Model(schema, sha256(text.encode()).hexdigest(), self.bold).answer()
        return f"Let me think.\n```json\n{json.dumps(found)}\n```\nThat is my answer."

    def log_message(self, *args: object) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--wild", type=int, default=0)
    parser.add_argument("--bold", type=float, default=0.0)
    given = parser.parse_args()
    Handler.wild, Handler.bold = given.wild, given.bold
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        sys.stdout.write(f"http://127.0.0.1:{server.server_port}/v1\n")
        sys.stdout.flush()
        server.serve_forever()


if __name__ == "__main__":
    sys.exit(main())
