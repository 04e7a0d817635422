"""Load that counts: keep-alive connections which ask without a pause, and check every answer."""

import collections
import http.client
import itertools
import json
import threading

WAIT_SECONDS = 20


class Load:
    """Use as a context manager. want: {environment: {service: who is to serve it}}, which may be
    changed with `ask_for` and `spare` while the load runs."""

    def __init__(self, edges, want, connections=2, path="/cart/alice"):
        self.want = dict(want)
        self.path = path
        self.begun = collections.Counter()  # environment: requests
        self.counts = collections.Counter()  # environment: answers that were as wanted
        self.faults = []
        self.changed = threading.Condition()
        self.ending = False
        self.busy = {}  # number of the thread: the environment it asks for now
        self.threads = [threading.Thread(target=self.work, args=(number, edge), daemon=True)
                        for number, edge in enumerate(list(edges) * connections)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *exception):
        self.end()

    def end(self):
        """Every request that was begun gets its answer before this returns."""
        self.ending = True
        for thread in self.threads:
            thread.join(WAIT_SECONDS)

    def work(self, number, edge):
        connection = http.client.HTTPConnection(edge, timeout=10)
        try:
            for n in itertools.count(number):
                with self.changed:
                    if self.ending or self.faults:
                        return
                    environment = list(self.want)[n % len(self.want)]
                    want = self.want[environment]
                    self.busy[number] = environment
                    self.begun[environment] += 1
                fault = self.fault(connection, edge, environment, want)
                with self.changed:
                    self.busy[number] = None
                    if fault:
                        self.faults.append(fault)
                    else:
                        self.counts[environment] += 1
                    self.changed.notify_all()
        finally:
            connection.close()

    def fault(self, connection, edge, environment, want):
        """What is wrong with one request's answer, or None. Nothing is tried twice."""
        fields = {"Host": "shop.localhost", "x-offshoot-env": environment}
        try:
            connection.request("GET", self.path, headers=fields)
            reply = connection.getresponse()
            body = json.loads(reply.read())
        except (OSError, http.client.HTTPException, ValueError) as e:
            return f"{environment} at {edge}: {type(e).__name__}: {e}"
        if reply.status != 200:
            return f"{environment} at {edge}: status {reply.status}: {body}"
        told = {part["service"]: part.get("variant") for part in (body, *body["called"])}
        return None if told == want else f"{environment} at {edge}: served by {told}"

    def served(self):
        return self.counts.total()

    def wait_for(self, good):
        """Until good() or a fault, whichever comes first."""
        with self.changed:
            self.changed.wait_for(lambda: self.faults or good(), WAIT_SECONDS)
            if self.faults:
                raise http.client.HTTPException("the load lost a request: " + self.faults[0])
            if not good():
                raise http.client.HTTPException(f"the load stands still at {self.served()}")

    def more(self, count):
        """Waits for so many answers more, in every environment asked for at least one whole."""
        before = self.counts.copy()
        whole = 2 * len(self.threads) // len(self.want) + 1
        self.wait_for(lambda: self.served() >= before.total() + count and all(
            self.counts[e] >= before[e] + whole for e in self.want))

    def ask_for(self, environment, want):
        with self.changed:
            self.want = {**self.want, environment: want}

    def spare(self, environment):
        """Asks for it no more; returns when no such request is under way."""
        with self.changed:
            self.want = {e: w for e, w in self.want.items() if e != environment}
        self.wait_for(lambda: environment not in self.busy.values())
