#!/usr/bin/python3
"""Prices in cents. The edition `main` has the list prices; every other one tries lower ones."""

from frame import Shop

LIST = {"tea": 450, "mug": 1200, "kettle": 3900, "filter": 300, "delivery": 490}
PERCENT = {"main": 100, "team-a": 90}

shop = Shop("pricing")


@shop.route("GET", "/prices")
def prices(call):
    percent = PERCENT.get(shop.variant, 80)
    wanted = call.query.get("item", [])
    return {"prices": {i: LIST.get(i, 1000) * percent // 100 for i in wanted}}


shop.serve()
