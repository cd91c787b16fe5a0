"""A client that openapi-python-client makes from /openapi.json reads every answer, with all that can be null."""

import importlib
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from fake_stripe import API_KEY, FakeStripe
from test_openapi import operations

from service.api import health
from service.repository import limits, payments, prices

# What it would have ruff do to the files takes longer than to make them.
NO_HOOKS = "post_hooks: []\n"


@pytest.fixture
def stripe():
    fake = FakeStripe()
    yield fake
    fake.stop()


@pytest.fixture
def environ(environ, stripe):
    return environ | {
        "OBOL_WEBHOOK_KEYS": "A" * 43,
        "OBOL_STRIPE_SECRET_KEY": API_KEY,
        "OBOL_STRIPE_API_BASE": stripe.url,
        "OBOL_PUBLIC_URL": "https://credits.example",
    }


@pytest.fixture
def made(client, tmp_path, monkeypatch):
    """The generated package: `api(operation id)` is its module, `models` its classes."""
    document = tmp_path / "openapi.json"
    document.write_text(client.get("/openapi.json").text)
    (tmp_path / "config.yml").write_text(NO_HOOKS)
    name = f"obol_client_{tmp_path.name.replace('-', '_')}"
    generator = Path(sys.executable).parent / "openapi-python-client"
    options = ["--path", document, "--output-path", tmp_path / name, "--config", tmp_path / "config.yml"]
    done = subprocess.run([generator, "generate", "--meta", "none", *options], capture_output=True, text=True)
    assert (done.returncode, "Warning" in done.stdout + done.stderr) == (0, False), done.stdout + done.stderr

    monkeypatch.syspath_prepend(tmp_path)
    modules = {path.stem: path for path in (tmp_path / name / "api").glob("*/*.py")}
    return SimpleNamespace(
        root=importlib.import_module(name),
        models=importlib.import_module(f"{name}.models"),
        api=lambda call: importlib.import_module(f"{name}.api.{modules[call].parent.name}.{call}"),
    )


@pytest.fixture
def ask(made, app, new_license):
    """`ask(operation id, *path parameters, **arguments)`: what the client read, which must be all that was sent."""
    license = new_license(credits=1000)
    key = license.raw_key
    transport = {"transport": httpx.WSGITransport(app=app)}

    def call(id, *path, raw_key=key, **arguments):
        client = made.root.AuthenticatedClient(base_url="http://obol.test", token=raw_key, httpx_args=transport)
        response = made.api(id).sync_detailed(*path, client=client, **arguments)
        call.called.add(id)
        if isinstance(response.parsed, str):
            assert response.parsed == response.content.decode()
        else:
            read = json.dumps(response.parsed.to_dict(), sort_keys=True).replace("+00:00", "Z")
            assert json.loads(read) == json.loads(response.content.replace(b"+00:00", b"Z"))
        return response.parsed

    call.called = set()
    call.license = license
    return call


def test_every_call(made, ask, client, owner, new_license):
    models = made.models
    prices.set_prices(owner, [("retired", None, None)])

    assert ask("healthz").status.value == "ok"
    assert ask("readyz").status.value == "ready"
    assert ask("start").links.to_dict()["docs"] == "/docs"
    assert ask("docs").startswith("<!doctype html>")
    assert ask("show_problem", "not_found").status == 404
    assert ask("show_license").expires_at is None
    expired = new_license(expires_at=datetime(2020, 1, 31, tzinfo=UTC))
    assert ask("show_license", raw_key=expired.raw_key).expires_at == datetime(2020, 1, 31, tzinfo=UTC)
    assert {row.model: row.input_ for row in ask("show_prices").prices} == {"*": 1_000_000, "retired": None}

    limits.set_own_keys(owner, ask.license.id, 1)
    own = ask("create_own_key", body=models.KeyRequest(name="CI"))
    assert own.license_key
    assert ask("change_own_key", own.key_id, body=models.OwnKeyChange(name="build")).name == "build"
    assert ask("revoke_own_key", own.key_id).revoked_at
    assert len(ask("list_own_keys").keys) == 1

    assert ask("create_deduction", body=models.DeductionRequest(amount=10), idempotency_key="k").balance == 990
    hold = ask("open_hold", body=models.HoldRequest(amount=100))
    assert ask("settle_hold", hold.id, body=models.SettleRequest(amount=60)).charged == 60
    released = ask("open_hold", body=models.HoldRequest(amount=100, reference="a reference"))
    assert ask("release_hold", released.id).state.value == "released"

    assert ask("generate", body=models.GenerateRequest(prompt="Hello")).credits_.charged == 33
    message = models.MessagesRequest("claude-sonnet-5-5", 5, [{"role": "user", "content": "Hello"}])
    assert ask("create_message", body=message)["content"]
    counted = models.AnyObject.from_dict(message.to_dict() | {"max_tokens": 5})
    assert ask("count_tokens", body=counted)["input_tokens"]
    model_id = ask("list_models")["data"][0]["id"]
    assert ask("show_model", model_id)["id"] == model_id

    statement = ask("list_entries")
    assert statement.next_cursor is None
    assert [(entry.kind.value, entry.reference, entry.model is None) for entry in statement.entries[:2]] == [
        ("charge", None, False),
        ("charge", None, False),
    ]
    assert ask("list_entries", limit=1).next_cursor == statement.entries[0].entry_no
    assert ask("show_usage").total.calls == 4
    receipt = ask("show_receipt", hold.id)
    assert (receipt.charged, receipt.hold.amount, receipt.calculation) == (60, 100, None)
    assert ask("show_metrics").startswith("# HELP obol_")

    payments.set_package(owner, "starter", name="Starter", price=1000, currency="eur", credits=500)
    (package,) = ask("list_packages").packages
    assert (package.id, package.lifetime_days) == ("starter", None)
    checkout = ask("create_checkout", body=models.CheckoutRequest(package_id="starter"), idempotency_key="c")
    (payment,) = ask("list_payments").payments
    assert (payment.id, payment.checkout_url, payment.paid_at) == (checkout.payment_id, checkout.checkout_url, None)
    event = models.AnyObject.from_dict({"id": "evt_1"})
    assert ask("receive_stripe_event", body=event, stripe_signature="t=1").code == "signature_invalid"
    assert ask.called == operation_ids(client, of_operators=False)


def operation_ids(client, *, of_operators):
    """The ids of the operations that take a token, or of the others."""
    return {
        operation["operationId"]
        for operation in operations(client.get("/openapi.json").json).values()
        if (operation.get("security") == [{"admin_token": []}]) is of_operators
    }


def test_every_call_of_an_operator(made, ask, client, new_token, new_license):
    models, token = made.models, new_token()

    def act(id, *path, **arguments):
        return ask(id, *path, raw_key=token, **arguments)

    created = act("create_license", body=models.NewLicenseRequest(name="Ada", credits_=500), idempotency_key="k")
    assert created.license_key
    again = act("create_license", body=models.NewLicenseRequest(name="Ada", credits_=500), idempotency_key="k")
    assert again.license_key is None
    license_id = created.license_id
    assert act("show_admin_license", license_id).external_id is None
    new_license(name="another")
    first = act("list_licenses", limit=1)
    assert act("list_licenses", cursor=first.next_cursor, limit=1).licenses
    changed = act("change_license", license_id, body=models.LicenseChange(expires_at=datetime(2999, 1, 1, tzinfo=UTC)))
    assert changed.expires_at == datetime(2999, 1, 1, tzinfo=UTC)
    key = act("create_key", license_id, body=models.KeyRequest(name="CI"))
    assert key.license_key
    assert act("change_key", license_id, key.key_id, body=models.KeyChange(name="build")).name == "build"
    assert act("revoke_key", license_id, key.key_id).revoked_at
    assert len(act("list_keys", license_id).keys) == 2
    rotated = act("rotate_license_key", license_id, body=models.RotationRequest(overlap_s=60))
    hold = ask("open_hold", raw_key=rotated.license_key, body=models.HoldRequest(amount=7))
    (listed,) = act("list_holds", state=models.ListHoldsState("held")).holds
    assert (listed.hold_id, listed.model, listed.unpaid) == (hold.id, None, None)

    item = models.BatchItemRequest(license_id=license_id, amount=30, idempotency_key="a")
    much = models.BatchItemRequest(license_id=license_id, amount=3000, idempotency_key="b")
    taken, refused = act("deduct_batch", body=models.BatchRequest(items=[item, much])).results
    assert (taken.balance, refused.code) == (470, "insufficient_credits")
    back = act("refund_hold", taken.id, body=models.HoldRefundRequest(license_id=license_id))
    assert (back.amount, back.balance) == (30, 500)

    soon = datetime(2999, 1, 1, tzinfo=UTC)
    granted = act("grant_credits", license_id, body=models.GrantRequest(amount=40, priority=99, expires_at=soon))
    assert (granted.state, granted.balance, granted.expires_at) == ("active", 540, soon)
    assert act("void_grant", license_id, granted.id).lapsed == 40
    page = act("list_grants", license_id, limit=1)
    assert act("list_grants", license_id, cursor=page.next_cursor).grants[0].reference == "opening grant"
    again = act("deduct_batch", body=models.BatchRequest(items=[item])).results[0]
    assert again.code == "answer_gone"
    spent = ask("create_deduction", raw_key=rotated.license_key, body=models.DeductionRequest(amount=10))
    part = act("refund", license_id, body=models.RefundRequest(cause_id=spent.id, amount=4, reason="sorry"))
    assert (part.amount, part.balance, part.lapsed) == (4, 494, 0)
    assert act("adjust_credits", license_id, body=models.AdjustmentRequest(amount=6, reason="r")).balance == 500

    assert act("list_license_entries", license_id).entries[0].kind.value == "adjustment"
    assert act("show_license_usage", license_id).total.refunded == 34
    assert act("show_license_receipt", license_id, spent.id).refunds[0].amount == 4

    figures = dict.fromkeys(("input", "output", "cache_write_5m", "cache_write_1h", "cache_read"), 2)
    book = models.AnyObject.from_dict({"price": [{"model": "m", **figures}], "not_sold": ["n"]})
    dry = act("set_prices", body=book, dry_run=models.SetPricesDryRun(1))
    assert [change.after is None for change in dry.changes] == [False, True]
    assert [price.model for price in act("show_price_book").prices] == ["*"]

    shop = act(
        "create_token", body=models.NewTokenRequest(name="shop", scopes=[models.NewTokenRequestScopesItem("read")])
    )
    assert shop.token.startswith("obol_admin_")
    assert len(act("list_tokens").tokens) == 2
    line = models.ImportedLine(key="LIC-0001-A", credits_=9)
    (taken_over,) = act("import_licenses", body=models.ImportRequest(licenses=[line])).results
    assert taken_over.result == "imported"
    hook = act("create_webhook", body=models.WebhookRequest(url="https://shop.example.com/obol", types=None))
    assert hook.secret.startswith("whsec_")
    assert act("rotate_webhook_secret", hook.webhook_id, body=models.SecretRotationRequest()).secret != hook.secret
    assert act("change_webhook", hook.webhook_id, body=models.WebhookChange(paused=True)).status.value == "paused"
    assert act("show_webhook", hook.webhook_id).paused_because == "operator"
    assert [listed.webhook_id for listed in act("list_webhooks").webhooks] == [hook.webhook_id]
    alerts = models.LicenseChange(alerts=models.AlertsChange(credits_=[100]), email="ada@example.com")
    act("change_license", license_id, body=alerts)
    waiting = act("list_events", license_id=license_id, limit=1)
    assert act("replay_events", hook.webhook_id, body=models.ReplayRequest()).replayed == 0
    assert act("list_events", cursor=waiting.next_cursor).events

    starter = models.PackageRequest(name="Starter", price=1000, currency="eur", credits_=500)
    assert act("set_package", "starter", body=starter).active is True
    assert [package.id for package in act("list_all_packages").packages] == ["starter"]
    assert act("end_package", "starter").active is False
    assert act("list_admin_payments", license_id=license_id).payments == []

    generated = made.root.AuthenticatedClient(
        base_url="http://obol.test", token=token, httpx_args={"transport": httpx.WSGITransport(app=client.application)}
    )
    assert made.api("delete_webhook").sync_detailed(hook.webhook_id, client=generated).status_code == 204
    assert made.api("revoke_token").sync_detailed(shop.token_id, client=generated).status_code == 204
    assert act("list_acts").acts[0].act == "revoke_token"
    assert act("show_overview").total.granted == 2549
    assert act("verify").clean is True

    assert ask.called >= operation_ids(client, of_operators=True) - {"delete_webhook", "revoke_token"}
    assert ask("show_admin_license", license_id, raw_key=shop.token).code == "admin_forbidden"


def test_every_refusal(made, ask, monkeypatch):
    models = made.models

    assert ask("create_deduction", body=models.DeductionRequest(amount=1001)).code == "insufficient_credits"
    assert ask("create_deduction", body=models.DeductionRequest(amount="1")).errors[0].field == "amount"
    assert ask("show_license", raw_key="nonsense").code == "license_invalid"
    failing = models.GenerateRequest(prompt="[sandbox status=529] Hello")
    assert ask("generate", body=failing)["upstream_status"] == 529
    message = models.MessagesRequest("claude-sonnet-5-5", 5, [{"role": "user", "content": "Hello"}])
    refused = ask("create_message", body=message, raw_key="nonsense").error
    assert refused.details.error_code == "license_invalid"
    monkeypatch.setattr(health, "_HEAD", "another")
    assert ask("readyz").reason.endswith("run `obol migrate`.")
