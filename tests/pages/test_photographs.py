"""Every page is photographed, whether there is a browser here or not."""

from uuid import UUID

from photographs import GUESTS, NO_PAGES, PAGES, PASSED

# Beside them there are the calls of programs.
BLUEPRINTS = ("account", "assets", "console", "pages")


def test_every_page_is_photographed(app):
    views = app.url_map.bind("")
    said = dict.fromkeys(("license_id", "cause", "key_id", "webhook_id", "paid", "pending", "own_key_id"), UUID(int=1))
    shown = {
        views.match(path.format(**said).partition("?")[0], "GET")[0] for path in (GUESTS | PASSED | PAGES).values()
    }
    expected = {
        rule.endpoint
        for rule in app.url_map.iter_rules()
        if rule.endpoint.partition(".")[0] in BLUEPRINTS and "GET" in (rule.methods or ())
    }
    assert expected - NO_PAGES == shown
    assert expected > NO_PAGES
