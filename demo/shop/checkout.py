#!/usr/bin/python3
"""Turns a cart into an order."""

from frame import Failure, Shop

shop = Shop("checkout")


def delivery(call):
    return call.get("pricing", "/prices?item=delivery")["prices"]["delivery"]


@shop.route("GET", "/orders/quote")
def quote(call):
    total = call.query.get("total", ["0"])[0]
    if not total.isdecimal():
        raise Failure(400, "total is a number of cents")
    return {"total": int(total) + delivery(call)}


@shop.route("POST", r"/orders/([\w-]+)")
def order(call, user):
    cart = call.get("cart", f"/cart/{user}")
    if not cart["items"]:
        raise Failure(409, f"the cart of {user} is empty")
    call.ask("POST", "inventory", "/reserve", cart["items"])
    total = cart["total"] + delivery(call)
    call.ask("DELETE", "cart", f"/cart/{user}")
    return {"ordered": cart["items"], "total": total}


shop.serve()
