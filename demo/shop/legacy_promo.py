#!/usr/bin/python3
"""A banner that nobody dares to switch off for everyone at once."""

from frame import Shop

shop = Shop("legacy-promo")


@shop.route("GET", "/promo")
def promo(call):
    return {"text": "buy two mugs, get a third"}


shop.serve()
