#!/usr/bin/python3
"""What a customer wants to buy; kept in Redis, with prices and stock asked for on every look.

Each answer says when it was made and has an id of its own, as answers do. The edition `feat-9` has
a fault that no test has found: it drops the cents of one total in fifty.
"""

import datetime
import random
import urllib.parse
import uuid

from frame import Failure, Shop

WRONG_TOTALS = {"feat-9": 0.02}

shop = Shop("cart", redis=True)
redis = shop.redis()


def total_of(items, prices):
    total = sum(prices[i] * n for i, n in items.items())
    return total - total % 100 if random.random() < WRONG_TOTALS.get(shop.variant, 0) else total


def noise():
    return {"answer": str(uuid.uuid4()), "at": datetime.datetime.now(datetime.UTC).isoformat()}


@shop.route("GET", r"/cart/([\w-]+)")
def show(call, user):
    items = {k: int(v) for k, v in sorted(redis.hgetall(shop.key(user)).items())}
    query = urllib.parse.urlencode([("item", i) for i in items])
    prices = call.get("pricing", f"/prices?{query}")["prices"]
    stock = call.get("inventory", f"/stock?{query}")["stock"]
    return {
        "items": items,
        "total": total_of(items, prices),
        "in_stock": all(stock[i] >= n for i, n in items.items()),
        **noise(),
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
