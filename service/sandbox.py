"""A local upstream that speaks the Messages wire: for trying Obol out, and for its tests.

It answers with canned words and names itself in `model`, so that nobody takes it for a model.
A directive in the prompt makes it behave as the real one does on a bad day:

    [sandbox delay_ms=2000]       answer late
    [sandbox status=529]          answer with an error of this status
    [sandbox output_tokens=100]   use this many output tokens, at most max_tokens
    [sandbox input_tokens=5000]   report this many input tokens
    [sandbox refusal]             refuse, with tokens shown but no output
    [sandbox no_usage]            leave the usage out
    [sandbox garbage]             send what is no JSON
    [sandbox close]               close the connection without an answer
"""

import json
import re
import secrets
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HOST = "127.0.0.1"

_DIRECTIVE = re.compile(r"\[sandbox ([a-z_]+)(?:=(\d{1,9}))?\]")
_WORDS = ["This", "answer", "comes", "from", "the", "sandbox,", "not", "from", "a", "model."]

_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


class Sandbox(ThreadingHTTPServer):
    """The server; `url` is what ANTHROPIC_BASE_URL would be.

    Args:
        port: 0 for any free one.
        delay_ms: how long each answer takes, for prompts that do not say.
    """

    daemon_threads = True
    # The default backlog of 5 drops connections when fifty calls arrive at once.
    request_queue_size = 256

    def __init__(self, port: int = 0, delay_ms: int = 0) -> None:
        super().__init__((HOST, port), _Handler)
        self.delay_ms = delay_ms
        self.url = f"http://{HOST}:{self.server_address[1]}"
        self._lock = threading.Lock()
        self._calls = 0

    @property
    def calls(self) -> int:
        """How many message calls have arrived."""
        return self._calls

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that left before its answer is no news; anything else is."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def count_call(self) -> None:
        with self._lock:
            self._calls += 1


def start(port: int = 0, delay_ms: int = 0) -> Sandbox:
    """Serve in a thread of this process, until the process ends or `shutdown` is called."""
    server = Sandbox(port, delay_ms)
    threading.Thread(target=server.serve_forever, args=(0.02,), name="sandbox", daemon=True).start()
    return server


class _Handler(BaseHTTPRequestHandler):
    server: Sandbox
    protocol_version = "HTTP/1.1"
    # The reply goes out in two writes; without this each would wait for the other's ACK.
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.path.partition("?")[0] != "/v1/messages":
            self._error(404, f"{self.path} is not in the sandbox.")
        elif not self.headers.get("authorization") and not self.headers.get("x-api-key"):
            self._error(401, "A key is needed.")
        else:
            self.server.count_call()
            self._create_message(raw)

    def _create_message(self, raw: bytes) -> None:
        try:
            body = json.loads(raw)
            prompt = json.dumps(body["messages"])
            max_tokens = int(body["max_tokens"])
            model = str(body["model"])
        except (ValueError, KeyError, TypeError) as error:
            return self._error(400, f"The body is not a message request: {error}")
        if body.get("stream"):
            return self._error(400, "The sandbox does not stream.")
        return self._answer(model, max_tokens, len(raw), dict(_DIRECTIVE.findall(prompt)))

    def _answer(self, model: str, max_tokens: int, size: int, directives: dict[str, str]) -> None:
        time.sleep(int(directives.get("delay_ms", self.server.delay_ms)) / 1000)
        if "status" in directives:
            self._error(int(directives["status"]), "The prompt asked for this error.")
            return
        if "close" in directives:
            self.close_connection = True
            return
        if "garbage" in directives:
            self._send(200, b"<html>not JSON</html>")
            return

        refused = "refusal" in directives
        asked = int(directives.get("output_tokens", len(_WORDS)))
        words = [_WORDS[i % len(_WORDS)] for i in range(min(asked, max_tokens))]
        message: dict[str, Any] = {
            "id": f"msg_sandbox_{secrets.token_hex(8)}",
            "type": "message",
            "role": "assistant",
            "model": f"sandbox/{model}",
            "content": [] if refused else [{"type": "text", "text": " ".join(words)}],
            "stop_reason": "refusal" if refused else "max_tokens" if asked > max_tokens else "end_turn",
            "stop_sequence": None,
            "usage": {
                # One token for about four bytes, as English has it.
                "input_tokens": int(directives.get("input_tokens", size // 4)),
                "output_tokens": len(words),
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0,
            },
        }
        if "no_usage" in directives:
            del message["usage"]
        self._send(200, json.dumps(message).encode())

    def _error(self, status: int, message: str) -> None:
        error = {"type": _ERROR_TYPES.get(status, "api_error"), "message": message}
        request_id = f"req_sandbox_{secrets.token_hex(8)}"
        self._send(status, json.dumps({"type": "error", "error": error, "request_id": request_id}).encode())

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.send_header("request-id", f"req_sandbox_{secrets.token_hex(8)}")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the service logs each request, once."""
