"""Every page, and where it is photographed; {names} are filled in with what the test has made."""

LICENSE = "/console/licenses/{license_id}"

# For who is not logged in.
GUESTS = {
    "start": "/",
    "docs": "/docs",
    "problem": "/problems/hold_not_open",
    "login": "/console/login",
    "account-login": "/account/login",
}

# axe-core would take minutes over their thousands of elements.
VAST = {"docs"}

# They lead on at once.
PASSED = {
    "account-back": "/account/top-up/back",
    "account-back-paid": "/account/top-up/{paid}/back",
}

PAGES = {
    "overview": "/console",
    "licenses": "/console/licenses",
    "new-license": "/console/licenses/new",
    "license": LICENSE,
    "statement": f"{LICENSE}/statement",
    "receipt": f"{LICENSE}/receipts/{{cause}}",
    "key": f"{LICENSE}/keys/{{key_id}}",
    "prices": "/console/prices",
    "packages": "/console/packages",
    "payments": "/console/payments",
    "payments-owed": "/console/payments?owed=1",
    "webhooks": "/console/webhooks",
    "webhook": "/console/webhooks/{webhook_id}",
    "tokens": "/console/tokens",
    "audit": "/console/audit",
    "health": "/console/health",
    "account": "/account",
    "account-statement": "/account/statement",
    "account-prices": "/account/prices",
    "account-top-up": "/account/top-up",
    "account-payment": "/account/top-up/{paid}",
    "account-payment-pending": "/account/top-up/{pending}",
    "account-receipt": "/account/receipts/{cause}",
    "account-keys": "/account/keys",
    "account-key": "/account/keys/{own_key_id}",
    "refused": "/console/licenses/00000000-0000-4000-8000-000000000000",
    "nothing": "/console/nothing",
    "account-nothing": "/account/nothing",
}

# What is no page: it is a file, or leads to a page that is here.
NO_PAGES = {
    "account._begin_of_all",
    "account.download_statement",
    "assets.asset",
    "console._begin_of_all",
    "console.download_statement",
}

PRICES = """
not_sold = ["a-model"]

[[price]]
model = "claude-sonnet-5-5"
input = 3_000_000
output = 15_000_000
cache_write_5m = 3_750_000
cache_write_1h = 6_000_000
cache_read = 300_000
"""
PACKAGES = """
not_sold = ["large"]

[[package]]
id = "starter"
name = "Starter"
price = 12.50
currency = "eur"
credits = 120_000
"""

# Pages that a form leads to: whose page it stands on, where it goes, what is typed, and whether what is asked then is
# agreed to.
FORMS = {
    "mended": (LICENSE, f"{LICENSE}/grants", {"amount": "ten", "reference": "order 77"}, False),
    "confirm": (LICENSE, f"{LICENSE}/grants", {"amount": "10000", "reference": "order 77"}, False),
    "prices-import": ("/console/prices", "/console/prices", {"file": PRICES}, False),
    "packages-import": ("/console/packages", "/console/packages/import", {"file": PACKAGES}, False),
    "account-confirm": ("/account/keys", "/account/keys", {"name": "Laptop"}, False),
    "account-secret": ("/account/keys", "/account/keys", {"name": "Laptop"}, True),
    # The last one: a key that is to end makes no others.
    "secret": (LICENSE, f"{LICENSE}/rotate", {"hours": "24"}, True),
}
