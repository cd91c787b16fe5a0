"""A stand-in for Stripe that speaks the part of its API that Obol uses: form-encoded requests, bearer keys, idempotency
keys that stand for one request, errors in its shape; and the events that it would send, signed as it signs them."""

import hashlib
import hmac
import json
import re
import threading
import time
from datetime import UTC, datetime
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from urllib.parse import parse_qsl

API_KEY = "sk_test_fake"
SECRET = "whsec_test_0123456789abcdef"


def sign(payload, secret=SECRET, at=None, more=""):
    """The Stripe-Signature of a payload."""
    at = int(time.time()) if at is None else at
    digest = hmac.new(secret.encode(), f"{at}.".encode() + payload, hashlib.sha256).hexdigest()
    return f"t={at},{more}v1={digest}"


def nested(form):
    """a[b][0][c]=1 as {"a": {"b": {"0": {"c": "1"}}}}."""
    document = {}
    for name, value in form:
        path = re.findall(r"[^\[\]]+", name)
        inner = document
        for part in path[:-1]:
            inner = inner.setdefault(part, {})
        inner[path[-1]] = value
    return document


class FakeStripe:
    """Requests in `requests`; `fails` has statuses to answer the next ones with. `paid` are the checkouts that somebody
    has paid at its own page, which there is where `has_page`: the test sends the events when it wants."""

    def __init__(self, has_page=False):
        self.has_page = has_page
        self.paid = []
        self.requests = []
        self.fails = []
        self.sessions = {}
        self.intents = {}
        self._answers = {}
        self._numbers = count(1)
        self._lock = threading.Lock()
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                if self.path.startswith("/c/pay/"):
                    self.show(self.path.rpartition("/")[2])
                else:
                    self.answer("GET", [])

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
                if self.path.startswith("/c/pay/"):
                    session_id = self.path.rpartition("/")[2]
                    fake.paid.append(session_id)
                    self.reply(303, b"", {"location": fake.sessions[session_id]["success_url"]})
                else:
                    self.answer("POST", parse_qsl(body, keep_blank_values=True))

            def show(self, session_id):
                """What a customer sees of a checkout."""
                session = fake.sessions[session_id]
                page = (
                    f"<!doctype html><title>Pay</title><main>{session['amount_total']} {session['currency']}"
                    "<form method=post><button>Pay</button></form>"
                    f"<a href='{escape(session['cancel_url'])}'>Back</a></main>"
                )
                self.reply(200, page.encode(), {"content-type": "text/html"})

            def answer(self, method, form):
                with fake._lock:
                    status, document, headers = fake.handle(method, self.path, form, self.headers)
                said = {"content-type": "application/json", "request-id": "req_fake", **headers}
                self.reply(status, json.dumps(document).encode(), said)

            def reply(self, status, body, headers):
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(body)))
                self.send_header("connection", "close")
                self.end_headers()
                self.wfile.write(body)
                self.close_connection = True

            def log_message(self, format, *args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        # Another site than the service's 127.0.0.1, as Stripe is.
        self.url = f"http://{'localhost' if has_page else '127.0.0.1'}:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()

    # What it answers

    def handle(self, method, path, form, headers):
        key = headers.get("idempotency-key")
        self.requests.append((method, path, nested(form), key))
        if headers.get("authorization") != f"Bearer {API_KEY}":
            return self._error(401, "invalid_request_error", "Invalid API Key provided")
        if self.fails:
            status = self.fails.pop(0)
            return self._error(status, "api_error", "Stripe is down", {"stripe-should-retry": "false"})
        if method == "GET" and (match := re.fullmatch("/v1/payment_intents/([A-Za-z0-9_]+)", path)):
            intent = self.intents.get(match[1])
            if intent is None:
                return self._error(404, "invalid_request_error", "No such payment_intent")
            return 200, intent, {}
        if method != "POST" or path != "/v1/checkout/sessions":
            return self._error(404, "invalid_request_error", "Unrecognized request URL")
        if key in self._answers:
            said, answer = self._answers[key]
            if said != form:
                return self._error(400, "idempotency_error", "Keys for idempotent requests can only be used once")
            return 200, answer, {"idempotent-replayed": "true"}
        answer = self._make_session(nested(form))
        self._answers[key] = (form, answer)
        return 200, answer, {}

    @staticmethod
    def _error(status, kind, message, headers=None):
        return status, {"error": {"type": kind, "message": message}}, headers or {}

    def _make_session(self, said):
        (item,) = said["line_items"].values()
        price = item["price_data"]
        number = next(self._numbers)
        session = {
            "id": f"cs_test_{number}",
            "object": "checkout.session",
            "amount_total": int(price["unit_amount"]) * int(item["quantity"]),
            "currency": price["currency"],
            "expires_at": int(said["expires_at"]),
            "metadata": said["metadata"],
            "mode": said["mode"],
            "payment_intent": None,
            "payment_status": "unpaid",
            "status": "open",
            "success_url": said["success_url"],
            "cancel_url": said["cancel_url"],
            "url": f"{self.url if self.has_page else 'https://checkout.stripe.com'}/c/pay/cs_test_{number}",
        }
        self.sessions[session["id"]] = session | {"intent_metadata": said["payment_intent_data"]["metadata"]}
        return session

    # What it sends

    def add_session(self, *, metadata, price=1000, currency="eur"):
        """A checkout that was made elsewhere; its id."""
        number = next(self._numbers)
        session_id = f"cs_test_{number}"
        self.sessions[session_id] = {
            "id": session_id, "object": "checkout.session", "amount_total": price, "currency": currency,
            "metadata": metadata, "intent_metadata": metadata, "payment_intent": None, "payment_status": "unpaid",
            "status": "open",
        }  # fmt: skip
        return session_id

    def _intent_of(self, session_id):
        session = self.sessions[session_id]
        intent = f"pi_{session_id.rpartition('_')[2]}"
        self.intents[intent] = {"id": intent, "object": "payment_intent", "metadata": session["intent_metadata"]}
        return intent

    def _session(self, session_id, **values):
        session = {name: value for name, value in self.sessions[session_id].items() if name != "intent_metadata"}
        return session | values

    def completed(self, session_id, *, kind="completed", payment_status="paid", **values):
        intent = self._intent_of(session_id)
        return self.event(
            f"checkout.session.{kind}",
            self._session(
                session_id,
                **{"payment_intent": intent, "payment_status": payment_status, "status": "complete", **values},
            ),
        )

    def expired(self, session_id):
        return self.event("checkout.session.expired", self._session(session_id, status="expired"))

    def refunded(self, session_id, back, *, at=None, **values):
        session = self.sessions[session_id]
        charge = {
            "id": f"ch_{session_id}", "object": "charge", "amount": session["amount_total"], "amount_refunded": back,
            "currency": session["currency"], "metadata": session["intent_metadata"],
            "payment_intent": self._intent_of(session_id), "refunded": back == session["amount_total"],
            "status": "succeeded",
        }  # fmt: skip
        return self.event("charge.refunded", charge | values, at)

    def refund_failed(self, session_id, number, amount, *, begun_at, at, kind="refund.failed"):
        session = self.sessions[session_id]
        refund = {
            "id": f"re_{session_id}_{number}", "object": "refund", "amount": amount, "charge": f"ch_{session_id}",
            "created": begun_at, "currency": session["currency"], "failure_reason": "expired_or_canceled_card",
            "metadata": {}, "payment_intent": self._intent_of(session_id), "status": "failed",
        }  # fmt: skip
        return self.event(kind, refund, at)

    def dispute(self, session_id, what, status, *, number=1, amount=None, **values):
        session = self.sessions[session_id]
        dispute = {
            "id": f"du_{session_id}_{number}", "object": "dispute", "amount": amount or session["amount_total"],
            "charge": f"ch_{session_id}", "currency": session["currency"], "metadata": {},
            "payment_intent": self._intent_of(session_id), "reason": "fraudulent", "status": status,
        }  # fmt: skip
        return self.event(f"charge.dispute.{what}", dispute | values)

    def event(self, kind, what, at=None):
        """The bytes of an event, of now where no time is given."""
        return json.dumps(
            {
                "id": f"evt_{next(self._numbers)}",
                "object": "event",
                "api_version": "2026-10-28",
                "created": int(datetime.now(UTC).timestamp()) if at is None else at,
                "data": {"object": what},
                "livemode": False,
                "pending_webhooks": 1,
                "type": kind,
            },
            indent=2,
        ).encode()
