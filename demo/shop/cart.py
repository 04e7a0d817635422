#!/usr/bin/python3
"""What a customer wants to buy; kept in Redis, with prices and stock asked for on every look."""

import urllib.parse

from frame import Failure, Shop

shop = Shop("cart", redis=True)
redis = shop.redis()


@shop.route("GET", r"/cart/([\w-]+)")
def show(call, user):
    items = {k: int(v) for k, v in sorted(redis.hgetall(shop.key(user)).items())}
    query = urllib.parse.urlencode([("item", i) for i in items])
    prices = call.get("pricing", f"/prices?{query}")["prices"]
    stock = call.get("inventory", f"/stock?{query}")["stock"]
    return {
        "items": items,
        "total": sum(prices[i] * n for i, n in items.items()),
        "in_stock": all(stock[i] >= n for i, n in items.items()),
    }


@shop.route("POST", r"/cart/([\w-]+)")
def add(call, user):
    item, count = call.body.get("item"), call.body.get("count", 1)
    if not isinstance(item, str) or not isinstance(count, int) or not 1 <= count <= 100:
        raise Failure(400, 'say {"item": "tea", "count": 1}')
    redis.hincrby(shop.key(user), item, count)
    return show(call, user)


@shop.route("DELETE", r"/cart/([\w-]+)")
def clear(call, user):
    redis.delete(shop.key(user))
    return {"items": {}}


shop.serve()
