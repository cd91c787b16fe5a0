"""Tokens for the tests of the operators' functions."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from service import keys
from service.db import Database
from service.repository import admin
from service.repository.admin import SCOPES, Actor


@pytest.fixture
def token(owner: Database) -> Callable[..., Actor]:
    """`token("read", "grant", name="shop", expires_at=None)`: who a token of these scopes makes one; all by default."""

    def make(*scopes: str, name: str | None = None, **values: Any) -> Actor:
        new = keys.make_token()
        name = name or f"test {uuid4()}"
        admin.create_token(owner, uuid4(), digest=new.digest, name=name, scopes=scopes or SCOPES, **values)
        return Actor(new.digest, "req_test")

    return make
