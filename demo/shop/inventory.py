#!/usr/bin/python3
"""What is in stock; kept in Redis."""

from frame import Failure, Shop

FIRST_STOCK = {"tea": 40, "mug": 12, "kettle": 3, "filter": 200}

shop = Shop("inventory", redis=True)
redis = shop.redis()
for name, number in FIRST_STOCK.items():
    redis.hsetnx(shop.key("stock"), name, number)


@shop.route("GET", "/stock")
def stock(call):
    wanted = call.query.get("item", [])
    counts = redis.hmget(shop.key("stock"), wanted) if wanted else []
    return {"stock": {i: int(n or 0) for i, n in zip(wanted, counts)}}


@shop.route("POST", "/reserve")
def reserve(call):
    """Takes all items of an order from the stock, or none."""
    taken = []
    for item, count in call.body.items():
        taken.append((item, count))
        if redis.hincrby(shop.key("stock"), item, -count) < 0:
            for back, n in taken:
                redis.hincrby(shop.key("stock"), back, n)
            raise Failure(409, f"not enough {item}")
    return {"reserved": dict(taken)}


shop.serve()
