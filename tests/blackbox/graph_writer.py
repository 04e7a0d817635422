"""Writes graph documents as YAML in block or flow style or as JSON, and remembers every place.

A document is a Doc: a label that survives edits, and a tree of dict, list, str, int, bool, None and
Raw. `places[(label, path, "key" | "value")]` is (file, line, column), as an editor counts them.
A path is a tuple of keys and indexes; a Key with a number tells equal keys of one mapping apart.
"""

import copy
import json
import re

STYLES = ("block", "flow", "json")
PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9./-]*\Z")
ENDINGS = {"block": ".yaml", "flow": ".yml", "json": ".json"}


class Raw:
    """A scalar written as it is, in every style."""

    def __init__(self, text):
        self.text = text


class Key(str):
    """A key that may stand beside an equal one: its identity in a path is `number`."""

    def __new__(cls, text, number):
        key = super().__new__(cls, text)
        key.number = number
        return key

    def __hash__(self):
        return hash((str(self), self.number))

    def __eq__(self, other):
        return self is other or (
            isinstance(other, Key) and str(self) == str(other) and self.number == other.number
        )


class Doc:
    def __init__(self, label, tree):
        self.label = label
        self.tree = tree


class Graph:
    """Documents, with edits by `label:path/to/field`. What an edit puts in is copied."""

    def __init__(self, docs):
        self.docs = docs

    def doc(self, label):
        return next(doc for doc in self.docs if doc.label == label)

    def _parent(self, place):
        """The mapping or list that holds the place, made where it is missing, and the last step."""
        label, path = parse(place)
        node = self.doc(label).tree
        for step, after in zip(path, path[1:]):
            if isinstance(node, dict) and step not in node:
                node[step] = [] if isinstance(after, int) else {}
            node = node[step]
        return node, path[-1]

    def set(self, place, value):
        value = copy.deepcopy(value)
        node, step = self._parent(place)
        if isinstance(node, list) and step == len(node):
            node.append(value)
        else:
            node[step] = value

    def drop(self, place):
        node, step = self._parent(place)
        del node[step]

    def add(self, label, tree):
        self.docs.append(Doc(label, copy.deepcopy(tree)))

    def remove(self, label):
        self.docs.remove(self.doc(label))


def parse(place):
    """`e.main:spec/providers/cart` → label and path; `use` twice is `use#1`; digits are indexes."""
    label, _, path = place.partition(":")
    steps = []
    for step in path.split("/") if path else []:
        if step.isdigit():
            steps.append(int(step))
        elif "#" in step:
            name, _, number = step.partition("#")
            steps.append(Key(name, int(number)))
        else:
            steps.append(step.replace("~", "/"))
    return label, tuple(steps)


class Writer:
    """One file under construction."""

    def __init__(self, name, style, places):
        self.name = name
        self.style = style
        self.places = places
        self.parts = []
        self.line = 1
        self.column = 1

    def put(self, text):
        self.parts.append(text)
        breaks = text.count("\n")
        self.line += breaks
        self.column = len(text) - text.rfind("\n") if breaks else self.column + len(text)

    def mark(self, label, path, what):
        self.places[(label, path, what)] = (self.name, self.line, self.column)

    def text(self):
        return "".join(self.parts)

    def scalar(self, value):
        if isinstance(value, Raw):
            return value.text
        if value is True or value is False:
            return "true" if value else "false"
        if value is None:
            return "null" if self.style == "json" else "~"
        if isinstance(value, int):
            return str(value)
        plain = self.style != "json" and PLAIN.match(value) and value not in ("true", "false")
        return str(value) if plain else json.dumps(str(value), ensure_ascii=False)

    def document(self, doc, first):
        if not first:
            self.put("---\n")
        if self.style == "block":
            self.block(doc.label, doc.tree, (), 0)
        else:
            self.flow(doc.label, doc.tree, (), 0)
            self.put("\n")

    def block(self, label, node, path, indent, inline=False):
        """A value in block style; ends with a line break."""
        if not isinstance(node, (dict, list)) or not node:
            self.mark(label, path, "value")
            empty = "{}" if isinstance(node, dict) else "[]"
            self.put((empty if isinstance(node, (dict, list)) else self.scalar(node)) + "\n")
            return
        entries = node.items() if isinstance(node, dict) else enumerate(node)
        for number, (step, value) in enumerate(entries):
            if number or not inline:
                self.put(" " * indent)
            if not number:
                self.mark(label, path, "value")
            nested = isinstance(value, (dict, list)) and bool(value)
            if isinstance(node, dict):
                self.mark(label, path + (step,), "key")
                self.put(self.scalar(step) + ":" + ("\n" if nested else " "))
                self.block(label, value, path + (step,), indent + 2)
            else:
                self.put("- ")
                self.block(label, value, path + (step,), indent + 2, inline=True)

    def flow(self, label, node, path, depth):
        """A value in flow style or JSON: entries of the outer four levels on lines of their own."""
        self.mark(label, path, "value")
        if not isinstance(node, (dict, list)):
            self.put(self.scalar(node))
            return
        lines = depth < 4 and bool(node)
        entries = node.items() if isinstance(node, dict) else enumerate(node)
        self.put("{" if isinstance(node, dict) else "[")
        for number, (step, value) in enumerate(entries):
            if number:
                self.put("," if lines else ", ")
            if lines:
                self.put("\n" + "  " * (depth + 1))
            if isinstance(node, dict):
                self.mark(label, path + (step,), "key")
                self.put(self.scalar(step) + ": ")
            self.flow(label, value, path + (step,), depth + 1)
        if lines:
            self.put("\n" + "  " * depth)
        self.put("}" if isinstance(node, dict) else "]")


def write(graph, style, files):
    """The graph dealt over `files` files: {name: text} and the places of all nodes."""
    places = {}
    writers = [Writer(f"g{number:02}{ENDINGS[style]}", style, places) for number in range(files)]
    for number, doc in enumerate(graph.docs):
        writer = writers[number % files]
        writer.document(doc, not writer.parts)
    return {writer.name: writer.text() for writer in writers if writer.parts}, places
