"""The account: what whoever holds a license key sees of it, in a browser."""

from uuid import UUID

from flask import Response, g, request

from .. import keys, statements
from ..http.auth import take_thread
from ..http.request_log import note
from ..http.services import services
from ..keys import KeyDigest
from ..pricing import CLASSES
from ..problems import Problem
from ..repository import grants, licenses, own_keys, prices
from ..repository.usage import Reader
from . import forms, session, statement
from .guarded import ACCOUNT, Pages, account_auth, form, license_key, next_page, redirect, respond

blueprint = Pages("account", account_auth)

RANGES = (7, 30, 90)


@blueprint.get("/account/login", is_open=True)
def login() -> Response:
    """The form to log in with."""
    if g.session is not None:
        return redirect(ACCOUNT.path)
    return _ask(request.args.get("next", ""))


@blueprint.post("/account/login", is_open=True)
def log_in() -> Response:
    """Log in with a license key; a suspended or expired license may look."""
    given = form()
    presented = given.raw("license_key").strip()
    key = keys.parse(presented) or services().imported_keys.find(presented)
    try:
        if key is None:
            raise Problem("license_invalid", "The license key is not valid.")
        take_thread(key)
        note(license_id=str(key.license_id))
        license = licenses.find(services().database, key)
    except Problem as problem:
        if problem.code != "license_invalid":
            raise
        note(code=problem.code)
        return _ask(given.raw("next"), wrong=problem.detail)
    response = redirect(next_page(ACCOUNT, given.raw("next")))
    scopes = ("keys",) if _makes_keys(key) else ()
    session.begin(ACCOUNT, response, digest=key.digest, license_id=key.license_id, name=license.name, scopes=scopes)
    return response


@blueprint.post("/account/logout")
def log_out() -> Response:
    """Log out."""
    response = redirect("/account/login", done="logged_out")
    session.end(ACCOUNT, response)
    return response


@blueprint.get("/account")
def show_account() -> Response:
    """The balance, what ends when, and where the credits went."""
    database, key = services().database, license_key()
    license = licenses.find(database, key)
    asked = forms.query()
    days = asked.number_or_none("days", 1, 366) or 30
    first, last = statements.last_days(days)
    return respond(
        "account/account.html",
        license=license,
        grants=grants.list_usable(database, key),
        days=days,
        ranges=RANGES,
        by_day=statements.usage_of(database, _reader(), first=first, last=last, by=("day",)),
        by_model=statements.usage_of(database, _reader(), first=first, last=last, by=("model",)),
        makes_keys=_makes_keys(key),
        by_key=statements.usage_of(database, _reader(), first=first, last=last, by=("key",)),
    )


@blueprint.get("/account/statement")
def show_statement() -> Response:
    """Every change of the balance."""
    return statement.respond_page(_reader(), ACCOUNT.path, g.session.name or "Your license")


@blueprint.get("/account/statement.csv")
def download_statement() -> Response:
    """All of it, as a file."""
    return statement.respond_csv(_reader())


@blueprint.get("/account/receipts/<uuid:cause_id>")
def show_receipt(cause_id: UUID) -> Response:
    """How a charge is made up."""
    return statement.respond_receipt(_reader(), cause_id, ACCOUNT.path)


@blueprint.get("/account/prices")
def show_prices() -> Response:
    """What a call will cost."""
    database = services().database
    licenses.find(database, license_key())
    return respond("account/prices.html", rows=prices.current(prices.book(database)), classes=CLASSES)


def _ask(wanted: str, *, wrong: str | None = None) -> Response:
    csrf = session.guest_csrf(ACCOUNT) or session.new_csrf()
    response = respond(
        "login.html", 403 if wrong else 200, guest_csrf=csrf, wanted=wanted, wrong=wrong, ended="ended" in request.args
    )
    session.welcome(ACCOUNT, response, csrf)
    return response


def _makes_keys(key: KeyDigest) -> bool:
    """Whether this key may make keys: for what is shown. The database decides, each time."""
    try:
        own_keys.list_keys(services().database, key)
    except Problem as problem:
        if problem.code != "keys_not_allowed":
            raise
        return False
    return True


def _reader() -> Reader:
    return Reader.with_key(license_key())
