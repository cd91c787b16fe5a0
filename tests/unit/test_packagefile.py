"""Files of packages: what they may say, and errors that name the entry, the field and what is right."""

import re

import pytest
from factories import ROOT

from service.packagefile import NewPackage, read
from service.tomlfile import TomlFileError

EXAMPLE = (ROOT / "docs" / "packages.example.toml").read_text()


def entry(**said):
    fields = {"id": '"a"', "name": '"A"', "price": "10.00", "currency": '"eur"', "credits": "500"} | said
    return "[[package]]\n" + "".join(f"{name} = {value}\n" for name, value in fields.items() if value is not None)


def terms(**said):
    return {"name": "A", "price": 1000, "currency": "eur", "credits": 500, "lifetime_days": None} | said


def test_the_shipped_example():
    starter, team = read(EXAMPLE)
    assert starter == NewPackage("starter", terms(name="Starter", credits=100_000, lifetime_days=365))
    assert (team.package_id, team.terms["price"]) == ("team", 10_000)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (entry(), terms()),
        (entry(price="10"), terms()),
        (entry(price="1000", currency='"jpy"'), terms(currency="jpy")),
        ('currency = "usd"\n' + entry(currency=None), terms(currency="usd")),
        ('currency = "usd"\n' + entry(), terms()),
        (entry(lifetime_days="36_500"), terms(lifetime_days=36500)),
    ],
)
def test_a_package(text, expected):
    assert read(text) == [NewPackage("a", expected)]


def test_what_is_sold_no_more():
    assert read('not_sold = ["a", "b"]') == [NewPackage("a", None), NewPackage("b", None)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x", "It is not TOML"),
        ("", "it has no package; add a [[package]]"),
        ("package = 1", "the file: package must be tables; write [[package]] above each"),
        ("price = 1", "the file: 'price' is not known there; these are: currency, not_sold, package"),
        ("not_sold = 1", 'the file: not_sold must be a list, such as ["starter"]'),
        ('not_sold = ["A"]', "the file: not_sold must have 1 to 64 of a-z"),
        ('not_sold = ["a"]\n' + entry(), "the file: a stands there twice; leave one"),
        (entry(id=None), "package 1: id is missing"),
        (entry() + entry(id="7"), "package 2: id must have 1 to 64 of a-z"),
        (entry(colour='"red"'), "the package a: 'colour' is not known there; these are: id, name"),
        (entry(name=None), "the package a: name is missing"),
        (entry(name='""'), "the package a: name must be text of 1 to 200 printable characters"),
        (entry(name='"a\\n"'), "the package a: name must be text"),
        (entry(name="1"), "the package a: name must be text"),
        (entry(currency=None), "the package a: currency is missing; it may also stand at the top"),
        (entry(currency='"EUR"'), "the package a: currency must be a code such as eur, in lower case"),
        (entry(currency="1"), "the package a: currency must be a code"),
        (entry(credits=None), "the package a: credits is missing"),
        (entry(credits="0"), "the package a: credits must be a whole number from 1 to 9223372036854775807"),
        (entry(credits="1.5"), "the package a: credits must be a whole number"),
        (entry(lifetime_days="36501"), "the package a: lifetime_days must be a whole number from 1 to 36500, without"),
        (entry(price=None), "the package a: price is missing"),
        (entry(price='"10.00"'), "the package a: price must be an amount such as 10.00, without quotes"),
        (entry(price="true"), "the package a: price must be an amount"),
        (
            entry(price="10.001"),
            "the package a: price: it must be an amount such as 10.00 EUR, with 2 decimals at most",
        ),
        (entry(price="-1"), "the package a: price: it must be an amount"),
        (entry(price="nan"), "the package a: price: it must be an amount"),
        (entry(price="1e3"), "the package a: price: it must be an amount"),
    ],
)
def test_what_is_wrong_is_named(text, said):
    with pytest.raises(TomlFileError, match=re.escape(said)):
        read(text)
