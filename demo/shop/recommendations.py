#!/usr/bin/python3
"""What else a customer could buy, the cheapest first."""

import urllib.parse

from frame import Shop

ITEMS = ("filter", "kettle", "mug")

shop = Shop("recommendations")


@shop.route("GET", "/recommendations")
def recommend(call):
    query = urllib.parse.urlencode([("item", i) for i in ITEMS])
    prices = call.get("pricing", f"/prices?{query}")["prices"]
    return {"items": sorted(prices, key=prices.get)}


shop.serve()
