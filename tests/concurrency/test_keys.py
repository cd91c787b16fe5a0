"""A key that ends, and calls, at once: what waited for the row must not spend with a dead key."""

import pytest

from service.repository import licenses


@pytest.mark.parametrize("kind", ["deduct", "client_hold", "process_hold"])
def test_a_call_that_waited_while_its_key_was_rotated_away(request, db, new_license, at_once, waiting, kind):
    spend = request.getfixturevalue(kind)
    license = new_license(credits=100)

    def rotate(cursor):
        assert waiting() == 1
        cursor.execute("SELECT obol.rotate_license_key(%s, %s, 0)", (str(license.id), b"n" * 32))

    assert at_once(license, [lambda: spend(license, 10)], rotate) == ["license_invalid"]
    assert licenses.find(db, license.key._replace(digest=b"n" * 32)).available == 100
