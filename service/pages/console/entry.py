"""Logging in to the console, and out."""

from flask import Response, g, request

from ... import keys
from ...http.request_log import note, request_id
from ...http.services import services
from ...problems import Problem
from ...repository import admin
from ...repository.admin import SCOPES, Actor
from .. import session
from ..guarded import CONSOLE, form, next_page, redirect, respond
from . import blueprint


@blueprint.get("/console/login", is_open=True)
def login() -> Response:
    """The form to log in with."""
    if g.session is not None:
        return redirect(CONSOLE.path)
    return _ask(request.args.get("next", ""))


@blueprint.post("/console/login", is_open=True)
def log_in() -> Response:
    """Log in with a token that may look."""
    given = form()
    digest = keys.parse_token(given.raw("token").strip())
    try:
        if digest is None:
            raise Problem("admin_forbidden", "The admin token is not valid.")
        actor = Actor(digest, request_id())
        name = admin.check(services().database, actor, "read")
    except Problem as problem:
        if problem.code != "admin_forbidden":
            raise
        note(code=problem.code)
        return _ask(given.raw("next"), wrong=problem.detail)
    note(actor=name)
    response = redirect(next_page(CONSOLE, given.raw("next")))
    scopes = tuple(scope for scope in SCOPES if _has(actor, scope))
    session.begin(CONSOLE, response, digest=digest, name=name.partition(":")[2], scopes=scopes)
    return response


@blueprint.post("/console/logout")
def log_out() -> Response:
    """Log out."""
    response = redirect("/console/login", done="logged_out")
    session.end(CONSOLE, response)
    return response


def _ask(wanted: str, *, wrong: str | None = None) -> Response:
    csrf = session.guest_csrf(CONSOLE) or session.new_csrf()
    response = respond(
        "login.html", 403 if wrong else 200, guest_csrf=csrf, wanted=wanted, wrong=wrong, ended="ended" in request.args
    )
    session.welcome(CONSOLE, response, csrf)
    return response


def _has(actor: Actor, scope: str) -> bool:
    """Whether a token has a scope: for what is shown. What is allowed the database decides, each time."""
    try:
        admin.check(services().database, actor, scope)
    except Problem as problem:
        if problem.code != "admin_forbidden":
            raise
        return False
    return True
