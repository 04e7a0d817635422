#!/usr/bin/python3
"""The shop's start page: what is in the cart, what it costs, what else one could buy."""

import urllib.parse

from frame import Shop

shop = Shop("web")


@shop.route("GET", "/")
def page(call):
    user = urllib.parse.quote(call.query.get("user", ["alice"])[0], safe="")
    cart = call.get("cart", f"/cart/{user}")
    recommended = call.get("recommendations", f"/recommendations?user={user}")
    promo = call.get("legacy-promo", "/promo", optional=True)
    quote = call.get("checkout", f"/orders/quote?total={cart['total']}")
    return {
        "user": user,
        "items": cart["items"],
        "total": quote["total"],
        "recommended": recommended["items"],
        "promo": promo["text"] if promo else None,
    }


shop.serve()
