"""A stand-in for the provider behind Open WebUI: `python upstream.py PORT_FILE [HOST]` serves until it is ended.

Speaks as much of OpenAI's API as is asked for: the list of models, chat completions, embeddings. Answers depend on
nothing but the question. A text's embedding is the sum of its words' directions, so that what shares words is near.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import random
import sys
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

DIMENSIONS = 384
NONZERO = 8
CHAT_MODEL, EMBEDDING_MODEL = "parrot", "bag-of-words"


@functools.lru_cache(maxsize=100_000)
def direction(word: str) -> tuple[tuple[int, float], ...]:
    """A few coordinates, drawn at random but always the same for a word."""
    dice = random.Random(hashlib.blake2b(word.encode(), digest_size=8).digest())
    return tuple((dice.randrange(DIMENSIONS), dice.choice((-1.0, 1.0))) for _ in range(NONZERO))


def embedding(text: str) -> list[float]:
    vector = [0.0] * DIMENSIONS
    for word in text.casefold().split() or ["(nothing)"]:
        for place, value in direction(word.strip(".,:;!?")):
            vector[place] += value
    length = math.hypot(*vector) or 1.0
    return [round(value / length, 6) for value in vector]


def answer(messages: Iterable[dict[str, object]]) -> str:
    said = [str(message.get("content", "")) for message in messages if message.get("role") == "user"]
    return f"Indeed: {said[-1][:120]}" if said else "Hello."


class Provider(BaseHTTPRequestHandler):
    """One connection of the application."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  the base class calls it so
        """Nobody reads it."""

    def do_GET(self) -> None:
        models = [{"id": name, "object": "model", "owned_by": "test"} for name in (CHAT_MODEL, EMBEDDING_MODEL)]
        self._tell({"object": "list", "data": models})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        if self.path.endswith("/embeddings"):
            texts = asked["input"] if isinstance(asked["input"], list) else [asked["input"]]
            data = [
                {"object": "embedding", "index": number, "embedding": embedding(str(text))}
                for number, text in enumerate(texts)
            ]
            self._tell({"object": "list", "model": EMBEDDING_MODEL, "data": data, "usage": {"total_tokens": 1}})
        else:
            self._chat(asked)

    def _chat(self, asked: dict[str, object]) -> None:
        messages = asked.get("messages")
        text = answer(messages if isinstance(messages, list) else [])
        common = {"id": "chatcmpl-1", "created": 1, "model": CHAT_MODEL}
        said = {"role": "assistant", "content": text}
        if not asked.get("stream"):
            choice = {"index": 0, "finish_reason": "stop", "message": said}
            self._tell({**common, "object": "chat.completion", "choices": [choice], "usage": {"total_tokens": 1}})
            return
        lines = [
            json.dumps({**common, "object": "chat.completion.chunk", "choices": [{"index": 0, **part}]})
            for part in ({"delta": said, "finish_reason": None}, {"delta": {}, "finish_reason": "stop"})
        ]
        self._send("".join(f"data: {line}\n\n" for line in [*lines, "[DONE]"]).encode(), "text/event-stream")

    def _tell(self, value: object) -> None:
        self._send(json.dumps(value).encode(), "application/json")

    def _send(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512  # the application asks for all batches of a document at once


def main() -> None:
    server = Server((sys.argv[2] if len(sys.argv) > 2 else "127.0.0.1", 0), Provider)
    ready = Path(sys.argv[1])
    ready.with_suffix(".new").write_text(str(server.server_address[1]))
    ready.with_suffix(".new").rename(ready)
    server.serve_forever()


if __name__ == "__main__":
    main()
