"""Tokens of the admin API and the console, and the audit trail."""

from uuid import UUID

from flask import Response

from ... import operator
from ...http.auth import actor
from ...http.fields import MAX_NAME
from ...http.services import services
from ...problems import Problem
from ...repository import admin
from ...repository.admin import SCOPES, Token
from .. import forms
from ..guarded import confirm, form, redirect, respond
from . import blueprint

# What a scope lets its token do, for who makes one.
MEANINGS = {
    "read": "look at everything, and log in here",
    "grant": "give, take back and refund credits",
    "manage": "make and change licenses, keys, limits and prices",
    "tokens": "make and revoke tokens",
}
_PAGE = 50


@blueprint.get("/console/tokens", scope="tokens")
def list_tokens() -> Response:
    """Tokens, also those that have ended, and the form for another."""
    asked = forms.query()
    found = admin.list_tokens(
        services().database, after=forms.place(asked.raw("cursor")), limit=_PAGE + 1, actor=actor()
    )
    return respond(
        "console/tokens.html",
        rows=found[:_PAGE],
        next_cursor=forms.place_of(found[_PAGE - 1]) if len(found) > _PAGE else None,
        meanings=MEANINGS,
    )


@blueprint.post("/console/tokens", scope="tokens")
def create_token() -> Response:
    """Make a token, which is shown once."""
    given = form()
    name, ends = given.text("name", 1, MAX_NAME), given.end_of("last_day")
    scopes = [scope for scope in SCOPES if scope in given.several("scopes")]
    if not scopes:
        raise forms.wrong("scopes", "must be one at least")
    if not given.is_confirmed:
        return confirm(
            f"Make the token {name}?",
            facts=[("It may", None, "; ".join(MEANINGS[scope] for scope in scopes)), ("Ends", None, ends or "never")],
            button="Make the token",
            back="/console/tokens",
            notes=("It is shown once, on the next page, and stored nowhere.",),
        )
    new = operator.create_token(services().database, name=name, scopes=scopes, expires_at=ends, actor=actor())
    return respond(
        "console/secret.html",
        title=f"The token {name}",
        what="admin token",
        secret=new.token,
        go_on="/console/tokens",
    )


@blueprint.post("/console/tokens/<uuid:token_id>/revoke", scope="tokens")
def revoke_token(token_id: UUID) -> Response:
    """End a token for good."""
    given, token = form(), _token(token_id)
    if not given.is_confirmed:
        return confirm(
            f"Revoke the token {token.name}?",
            facts=[("It may", ", ".join(token.scopes), "nothing"), ("Ends", token.expires_at or "never", "now")],
            button="Revoke the token",
            back="/console/tokens",
            danger=True,
            notes=("Whoever is logged in with it is logged out, and programs that use it are refused.",),
        )
    operator.revoke_token(services().database, token_id, actor=actor())
    return redirect("/console/tokens", done="token_revoked")


@blueprint.get("/console/audit")
def list_acts() -> Response:
    """Who did what, newest first."""
    asked = forms.query()
    before = forms.numbered(asked.raw("cursor"))
    found = admin.list_acts(services().database, before=before, limit=_PAGE + 1, actor=actor())
    return respond(
        "console/audit.html",
        rows=found[:_PAGE],
        next_cursor=found[_PAGE - 1].act_no if len(found) > _PAGE else None,
        is_first=before is None,
    )


def _token(token_id: UUID) -> Token:
    for token in admin.pages(
        lambda after, limit: admin.list_tokens(services().database, after=after, limit=limit, actor=actor())
    ):
        if token.token_id == token_id:
            return token
    raise Problem("not_found", f"There is no token {token_id}.")
