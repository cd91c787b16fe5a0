"""Pages that are logged in to: who may see them, what their forms have to bring, and how they are answered."""

import re
from calendar import timegm
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Any, NamedTuple
from urllib.parse import urlencode
from uuid import UUID

from flask import Blueprint, Response, current_app, g, request

from .. import statements
from ..http.auth import take_thread
from ..http.body import MEBIBYTE, limit_body
from ..http.errors import unexpected
from ..http.request_log import note, request_id
from ..http.services import services
from ..keys import KeyDigest
from ..problems import Problem
from ..repository import admin
from ..repository.admin import Actor
from . import assets, forms, session
from .forms import Form
from .rendering import render, respond_logged_in
from .session import Face

CONSOLE = Face("console", "/console")
ACCOUNT = Face("account", "/account")

# Nothing but a file is longer.
_LONGEST_FORM = 32 * 1024

# Where one may be sent once logged in: a page of ours, and nothing that a browser takes for another host.
_NEXT = re.compile("/(console|account)(/[A-Za-z0-9_-]+)*", re.ASCII)

# Where a browser comes from when it brings no session along, whether there is one or not.
_ELSEWHERE = ("cross-site", "same-site")
# What was typed can be mended. Nothing else is offered to be sent again: a form that was sent before would do once more
# what it has done, because each page that asks makes it another.
_MENDABLE = ("amount_invalid", "insufficient_credits", "validation_failed")
# Of a form, what nobody types, and what is not sent where nothing was ticked.
_UNTYPED = ("cause_id", "event_id", "key_id", "paused", "status")
_TICKED = ("scopes", "types")
# Of a form, what is never shown.
_SECRETS = ("license_key", "token")

# Of a page that was led to already: once is enough.
_LED = "led"

# What a page says after something was done; the address names it, so nobody can have it say something else.
DONE = {
    "alerts": "It is set what the license tells of its balance.",
    "adjusted": "The balance is corrected.",
    "expiry": "The license ends at another time.",
    "granted": "The credits are granted.",
    "imported": "The prices are set.",
    "limits": "The limits are set.",
    "logged_out": "You are logged out.",
    "own_keys": "It is set how many keys its holder may make.",
    "package_ended": "The package is sold no more.",
    "packages_imported": "The packages are as the file has them.",
    "package_set": "The package is sold from now on.",
    "refunded": "The credits are given back.",
    "renamed": "The license is renamed.",
    "resumed": "The license is active again.",
    "revoked": "The key is revoked.",
    "suspended": "The license is suspended.",
    "token_revoked": "The token is revoked.",
    "replayed": "The events are delivered once more.",
    "voided": "The grant has ended.",
    "webhook_deleted": "The webhook is deleted.",
    "webhook_paused": "The webhook is paused: its events wait.",
    "webhook_resumed": "The webhook goes on; what waits is tried at once.",
}


class Difference(NamedTuple):
    """What an import changes: what its figures are, the names of what begins a row, the names of the figures, and rows
    of how each begins and its figures before and after by their names; None: not sold."""

    unit: str
    heads: tuple[str, ...]
    names: tuple[str, ...]
    rows: list[tuple[tuple[object, ...], Mapping[str, Any] | None, Mapping[str, Any] | None]]


class Pages(Blueprint):
    """Pages, and who may see them.

    Args:
        auth: runs before every view: `console_auth` or `account_auth`.
    """

    def __init__(self, name: str, auth: Callable[[], Response | None]) -> None:
        super().__init__(name, __name__)
        self.auth = auth
        self.scopes: dict[str, str] = {}
        self.open: set[str] = set()
        self.before_request(auth)
        self.register_error_handler(Problem, refuse)
        # Whoever mistypes an address of these gets a page, and not the document of a program.
        self.add_url_rule(f"/{name}/", None, _begin_of_all, is_open=True)
        self.add_url_rule(f"/{name}/<path:path>", None, _nothing, is_open=True)
        self.register_error_handler(Exception, _internal_error)

    def add_url_rule(
        self,
        rule: str,
        endpoint: str | None = None,
        view_func: Any = None,
        *args: Any,
        scope: str = "read",
        is_open: bool = False,
        **options: Any,
    ) -> None:
        """As Flask's. `scope` is what a token needs for the view; `is_open`: it is for who is not logged in."""
        self.scopes[view_func.__name__] = scope
        if is_open:
            self.open.add(view_func.__name__)
        super().add_url_rule(rule, endpoint, view_func, *args, **options)


def console_auth() -> Response | None:
    """Requires a session of a token that the database finds good for the view's scope; of a form, its secret."""
    view = _begin(CONSOLE)
    if view is None:
        return None
    if g.session is None:
        return _to_log_in(CONSOLE)
    g.actor = Actor(g.session.digest, request_id())
    try:
        note(actor=admin.check(services().database, g.actor, _pages().scopes[view]))
    except Problem as problem:
        if problem.code == "admin_forbidden" and "scope" not in problem.extra:
            # Revoked or expired since.
            return _to_log_in(CONSOLE, ended=True)
        raise
    _check_form(g.session.csrf)
    return None


def account_auth() -> Response | None:
    """Requires a session of a license key, and a thread for its license; of a form, its secret."""
    if _begin(ACCOUNT) is None:
        return None
    if g.session is None:
        return _to_log_in(ACCOUNT)
    note(license_id=str(g.session.license_id))
    take_thread(license_key())
    _check_form(g.session.csrf)
    return None


def license_key() -> KeyDigest:
    """What the database is asked with for the license key that was logged in with."""
    license_id: UUID = g.session.license_id
    return KeyDigest(license_id, g.session.digest)


def form() -> Form:
    """The form of the current request; its secret was the right one."""
    found: Form = g.form
    return found


def _begin_of_all() -> Response:
    return redirect(str(g.face.path))


def _nothing(**_asked: str) -> Response:
    raise Problem("not_found", "There is no such page.")


def _pages() -> Pages:
    found: Any = current_app.blueprints[str(request.blueprint)]
    assert isinstance(found, Pages)
    return found


def _begin(face: Face) -> str | None:
    """Look who is there; the view that is asked for, or None when that is for everybody."""
    g.face, g.session = face, None
    session.check_set_up()
    g.session = session.find(face)
    view = str(request.endpoint).rpartition(".")[2]
    limit_body(MEBIBYTE if view in ("import_prices", "import_packages") else _LONGEST_FORM)
    if view in _pages().open:
        if request.method == "POST":
            _check_form(session.guest_csrf(face))
        return None
    return view


def _check_form(csrf: str | None) -> None:
    """That a form was sent by a page of this session, and not by one of somebody else.

    Raises: Problem validation_failed.
    """
    if request.method != "POST":
        return
    sent = forms.read()
    if _is_foreign() or not session.is_same(csrf, sent.raw("csrf")):
        raise Problem(
            "validation_failed",
            "The form is not of this session. Open the page again, and send it from there.",
        )
    g.form = sent


def _is_foreign() -> bool:
    """Whether a page of another origin sends this. Browsers say so, and no page can have them say otherwise."""
    return request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none")


def _to_log_in(face: Face, *, ended: bool = False) -> Response:
    wanted = {"next": request.path} if request.method == "GET" and _NEXT.fullmatch(request.path) else {}
    is_from_elsewhere = request.headers.get("Sec-Fetch-Site") in _ELSEWHERE and _LED not in request.args
    if wanted and not ended and is_from_elsewhere:
        return lead_on(f"{request.path}?{_LED}=1", "One moment")
    typed = _typed_too_late()
    if typed:
        # Without the session: nobody is logged in on this page.
        g.session = None
        response = respond("ended.html", 403, typed=typed, back=_page_of_the_form(face))
    else:
        response = redirect(f"{face.path}/login", **wanted, **({"ended": "1"} if ended else {}))
    if ended:
        session.end(face, response)
    if "HX-Request" in request.headers:
        # htmx would put the form to log in where a part of the page belongs.
        response.status_code = 200
        response.headers["HX-Redirect"] = response.headers["Location"]
    return response


def lead_on(target: str, title: str) -> Response:
    """A page that leads to one which needs a session. A browser brings none along where a page of somebody else has the
    link, in a mail for example; from this page it does."""
    return respond("lead_on.html", target=target, title=title)


def next_page(face: Face, asked: str) -> str:
    """Where to go after logging in: what was asked for, if it is a page of this face."""
    is_ours = _NEXT.fullmatch(asked) and (asked == face.path or asked.startswith(f"{face.path}/"))
    return asked if is_ours else face.path


def redirect(path: str, **query: str) -> Response:
    """Go on to a path of this service; the browser asks for it with GET."""
    return Response(status=303, headers={"Location": f"{path}?{urlencode(query)}" if query else path})


def respond(template: str, status: int = 200, *, forms_lead_to: str | None = None, **values: Any) -> Response:
    """A page, with what all of them show. `forms_lead_to`: see `respond_logged_in`."""
    found = g.session
    html = render(
        template,
        address=assets.address,
        face=g.face,
        session=found,
        csrf=found.csrf if found else "",
        can=lambda scope: found is not None and scope in found.scopes,
        path=request.path,
        now=datetime.now(UTC),
        at=_seconds,
        daily=statements.credits_by_day,
        done=DONE.get(request.args.get("done", "")),
        sells=services().cashier is not None,
        **values,
    )
    return respond_logged_in(html, status, forms_lead_to)


def _seconds(day: date) -> int:
    """Since 1970, as charts count."""
    return timegm(day.timetuple())


def confirm(title: str, *, facts: list[tuple[str, Any, Any]], button: str, back: str, danger: bool = False,
            notes: tuple[str, ...] = (), difference: Difference | None = None) -> Response:  # fmt: skip
    """Ask once more. `facts` are what it is about, how it is now, and how it will be (None: the same)."""
    return respond(
        "confirm.html",
        title=title,
        facts=facts,
        button=button,
        back=back,
        danger=danger,
        notes=notes,
        difference=difference,
        carried=form().carried(),
        idempotency_key=forms.new_idempotency_key(),
    )


def refuse(problem: Problem) -> Response:
    """A Problem as a page."""
    face, found = g.face, g.session
    if face is ACCOUNT and problem.code == "license_invalid" and found is not None:
        # The key was revoked since.
        return _to_log_in(face, ended=True)
    if face is CONSOLE and problem.code == "license_invalid":
        problem = Problem("license_not_found", problem.detail)
    note(code=problem.code)
    response = respond(
        "refused.html",
        problem.type.status,
        problem=problem,
        back=_page_of_the_form(face),
        typed=_typed(problem),
        untyped=_UNTYPED,
        request_id=request_id(),
    )
    if problem.retry_after is not None:
        response.headers["Retry-After"] = str(problem.retry_after)
    return response


def _typed(problem: Problem) -> list[tuple[str, str]]:
    """What was typed in the form that is refused, for it to be mended and sent again; nothing where that is no use."""
    is_open = str(request.endpoint).rpartition(".")[2] in _pages().open
    if problem.code not in _MENDABLE or is_open or g.session is None or "form" not in g:
        return []
    if any(error["field"] in _TICKED for error in problem.extra.get("errors", ())):
        return []
    sent = form()
    if _has_to_be_opened_again(sent):
        return []
    fields = sent.carried()
    return fields if any(name not in _UNTYPED for name, _ in fields) else []


def _typed_too_late() -> list[tuple[str, str]]:
    """What was typed in a form that came after its session had ended. What a page of somebody else has typed is not
    shown on one of ours."""
    if request.method != "POST" or _is_foreign() or "HX-Request" in request.headers:
        return []
    try:
        sent = forms.read()
    except Problem:
        return []
    if _has_to_be_opened_again(sent):
        return []
    return [(name, value) for name, value in sent.carried() if value and name not in _UNTYPED + _SECRETS]


def _has_to_be_opened_again(sent: Form) -> bool:
    """Whether a form is of a page that does not ask once more."""
    return bool(sent.raw("idempotency_key")) and not sent.is_confirmed


def _page_of_the_form(face: Face) -> str:
    """Where a form that is refused stands: the page that its address begins with."""
    views, path = current_app.url_map.bind(""), request.path
    while request.method == "POST" and path != face.path:
        view, _ = views.match(path, "GET")
        if view != f"{face.name}.{_nothing.__name__}":
            return path
        path = path.rpartition("/")[0]
    return face.path


def _internal_error(error: Exception) -> Response:
    return refuse(unexpected(error))
