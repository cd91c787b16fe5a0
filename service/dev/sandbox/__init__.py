"""A local upstream that speaks the Messages wire: for trying Obol out, and for its tests.

It answers with canned words and names itself in `model`, so that nobody takes it for a model.
It serves POST /v1/messages (whole and streamed), POST /v1/messages/count_tokens, GET /v1/models
and GET /v1/models/{id}. As the real one it does not count images and documents that are not in the
request itself. A directive in the messages makes it behave as the real one does on a
bad day; those that it does not know are ignored. "Event" below counts everything in a stream,
pings and comments too.

    [sandbox delay_ms=2000]       answer late
    [sandbox status=529]          answer with an error of this status
    [sandbox close]               close the connection without an answer
    [sandbox garbage]             send what is no JSON, or in a stream what is no event
    [sandbox count_status=529]    status, delay_ms, close and garbage leave token counts alone;
                                  with `count_` before them they are for these only

    [sandbox output_tokens=100]   use this many output tokens, at most max_tokens
    [sandbox input_tokens=5000]   report this many input tokens
    [sandbox cache_write_5m=100]  report this many tokens written for five minutes, too
    [sandbox cache_write_1h=100]  and for an hour
    [sandbox cache_read=100]      and this many read from the cache
    [sandbox unsplit]             do not say for how long the written ones were
    [sandbox no_usage]            leave the usage out

    [sandbox refusal]             refuse, with tokens shown but no output
    [sandbox late_refusal]        refuse after all of the text
    [sandbox thinking=50]         think before the text, for as many more output tokens
    [sandbox tool_turns=2]        call the first of the request's tools until its messages hold
                                  this many tool results; each call takes 5 more output tokens
    [sandbox decline]             let the first of the request's `fallbacks` answer; refuse if
                                  there is none
    [sandbox decline_after=20]    the same, after the first model has used this many output tokens

    [sandbox event_delay_ms=100]  wait between the events
    [sandbox cut_after=5]         drop the connection after so many events; of an answer that is
                                  not streamed, after so many bytes of its body
    [sandbox end_after=5]         end the stream properly after so many events
    [sandbox error_after=5]       send an error event after so many, and end the stream
    [sandbox stall_after=5]       after so many events say nothing more until the client has gone
                                  or the server shuts down; if not streamed, say nothing at all
    [sandbox repeat_delta]        send `message_delta` three times, with growing output_tokens
    [sandbox future]              send what a later version may: an unknown event, a comment and
                                  CRLF after the ping; an unknown field if not streamed
    [sandbox split=7]             send the stream in pieces of so many bytes
"""

import json
import sys
import threading
import time
from collections.abc import Callable
from http.server import ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote

from . import answers, counting, events, models
from .answers import Answer
from .directives import Directives
from .wire import JSON, Wire

HOST = "127.0.0.1"


class Received(NamedTuple):
    """A request as it came; `path` with its query, `headers` by lower-case name."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Sandbox(ThreadingHTTPServer):
    """The server; `url` is what ANTHROPIC_BASE_URL would be.

    Args:
        port: 0 for any free one.
        delay_ms: how long each message takes, for prompts that do not say.
        record: whether to keep what came in `received`, and in `used` the usage of each message
            that was sent to its end. They stay empty without: prompts must not pile up.
    """

    daemon_threads = True
    # The default backlog of 5 drops connections when fifty calls arrive at once.
    request_queue_size = 256

    def __init__(self, port: int = 0, delay_ms: int = 0, record: bool = False) -> None:
        super().__init__((HOST, port), _Handler)
        self.delay_ms = delay_ms
        self.url = f"http://{HOST}:{self.server_address[1]}"
        self.received: list[Received] = []
        self.used: list[dict[str, Any]] = []
        self.stopping = threading.Event()
        self._record = record
        self._lock = threading.Lock()
        self._calls = 0
        self._count_calls = 0

    @property
    def calls(self) -> int:
        """How many message calls have arrived."""
        return self._calls

    @property
    def count_calls(self) -> int:
        """How many calls for a token count have arrived."""
        return self._count_calls

    def shutdown(self) -> None:
        """Stop serving, and let go of the clients that an answer was withheld from."""
        self.stopping.set()
        super().shutdown()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that left before its answer is no news; anything else is."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def note_call(self) -> None:
        with self._lock:
            self._calls += 1

    def note_count_call(self) -> None:
        with self._lock:
            self._count_calls += 1

    def note_received(self, received: Received) -> None:
        if self._record:
            with self._lock:
                self.received.append(received)

    def note_used(self, usage: dict[str, Any] | None) -> None:
        if self._record and usage is not None:
            with self._lock:
                self.used.append(usage)


def start(port: int = 0, delay_ms: int = 0, record: bool = False) -> Sandbox:
    """Serve in a thread of this process, until the process ends or `shutdown` is called."""
    server = Sandbox(port, delay_ms, record)
    threading.Thread(target=server.serve_forever, args=(0.02,), name="sandbox", daemon=True).start()
    return server


class _Handler(Wire):
    server: Sandbox

    def route(self) -> None:
        raw = self._receive()
        quoted, _, query = self.path.partition("?")
        path = unquote(quoted)
        model_id = path.removeprefix("/v1/models/")
        acts: dict[tuple[str, str], Callable[[], None]] = {
            ("POST", "/v1/messages"): lambda: self._create_message(raw),
            ("POST", "/v1/messages/count_tokens"): lambda: self._count_tokens(raw),
            ("GET", "/v1/models"): lambda: self._list_models(query),
            ("GET", f"/v1/models/{model_id}"): lambda: self._show_model(model_id),
        }
        act = acts.get((self.command, path))
        if act is None:
            self.send_problem(404, f"{self.path} is not in the sandbox.")
        elif not self.headers.get("authorization") and not self.headers.get("x-api-key"):
            self.send_problem(401, "A key is needed.")
        else:
            act()

    def _receive(self) -> bytes:
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.note_received(Received(self.command, self.path, headers, raw))
        return raw

    def _list_models(self, query: str) -> None:
        asked = {name: values[-1] for name, values in parse_qs(query).items()}
        try:
            page = models.page(int(asked.get("limit", 20)), asked.get("after_id"), asked.get("before_id"))
        except ValueError as error:
            self.send_problem(400, str(error))
        else:
            self.send_json(page)

    def _show_model(self, model_id: str) -> None:
        model = models.BY_ID.get(model_id)
        if model is None:
            self.send_problem(404, f"model: {model_id}")
        else:
            self.send_json(model)

    def _count_tokens(self, raw: bytes) -> None:
        self.server.note_count_call()
        try:
            body = json.loads(raw)
            directives = Directives.found_in(body["messages"])
            total = counting.input_tokens(body, directives).total
            is_elsewhere = counting.is_elsewhere(body)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            return self.send_problem(400, f"The body is not a message to count: {error!r}")
        if is_elsewhere:
            return self.send_problem(
                400, "Images and documents by URL or file id are not counted: send them as base64."
            )
        if not self._misbehaves(directives.of_counts(), 0, stream=False):
            self.send_json({"input_tokens": total})
        return None

    def _create_message(self, raw: bytes) -> None:
        self.server.note_call()
        try:
            body = json.loads(raw)
            directives = Directives.found_in(body["messages"])
            answer = answers.make(body, directives)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            return self.send_problem(400, f"The body is not a message request: {error!r}")
        stream = bool(body.get("stream"))
        if self._misbehaves(directives, self.server.delay_ms, stream):
            return None
        if stream:
            return self._stream(answer, directives)
        return self._send_message(answer, directives)

    def _misbehaves(self, directives: Directives, delay_ms: int, stream: bool) -> bool:
        """Whether what was to be sent instead of an answer has been sent."""
        time.sleep(directives.number("delay_ms", delay_ms) / 1000)
        if "status" in directives:
            self.send_problem(directives.number("status", 500), "The prompt asked for this error.")
        elif "close" in directives:
            self.close_connection = True
        elif "garbage" in directives and stream:
            # Not even UTF-8.
            chunks = self.begin_stream()
            chunks.send(b"<html>no\xffevents</html>\n\n")
            chunks.end()
        elif "garbage" in directives:
            self.send_whole(200, JSON, b"<html>not JSON</html>")
        else:
            return False
        return True

    def _send_message(self, answer: Answer, directives: Directives) -> None:
        if "stall_after" in directives:
            return self.stall(self.server.stopping)
        message = answer.message()
        if "future" in directives:
            message["future"] = {"note": "This field is not in the documentation."}
        body = json.dumps(message).encode()
        cut_after = directives.position("cut_after")
        if cut_after is None or cut_after >= len(body):
            self._note_used(answer)
        self.send_whole(200, JSON, body, cut_after=cut_after)
        return None

    def _stream(self, answer: Answer, directives: Directives) -> None:
        chunks = self.begin_stream(directives.number("split", 0))
        breaks_at = events.breaks_at(directives)
        delay_ms = directives.number("event_delay_ms", 0)
        sent = 0
        for event in events.of(answer, directives):
            if sent in breaks_at:
                break
            # Even a sleep of nothing takes as long as ten events.
            if sent and delay_ms:
                time.sleep(delay_ms / 1000)
            if event == events.MESSAGE_STOP:
                self._note_used(answer)
            chunks.send(event)
            sent += 1
        how = breaks_at.get(sent)
        if how == "cut_after":
            chunks.flush()
            self.close_connection = True
        elif how == "stall_after":
            chunks.flush()
            self.stall(self.server.stopping)
        else:
            if how == "error_after":
                chunks.send(events.OVERLOADED)
            chunks.end()

    def _note_used(self, answer: Answer) -> None:
        # Before the last bytes go out, so that whoever has them finds it. That they can be
        # written says nothing: the system takes them for a client that has gone, too.
        if not self.client_has_gone():
            self.server.note_used(answer.usage)
