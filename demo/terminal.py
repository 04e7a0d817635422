"""What the demo prints: aligned text, coloured on a terminal only."""

import os
import sys

COLOURS = {"main": 37, "team-a": 36, "team-b": 35, "feat-42": 32, "feat-mix": 34, "tools": 33}
COLOURED = sys.stdout.isatty() and "NO_COLOR" not in os.environ


def style(code, text):
    return f"\x1b[{code}m{text}\x1b[0m" if COLOURED else text


def of(environment, text=None):
    """A text in the colour of an environment."""
    return style(COLOURS.get(environment, 31), environment if text is None else text)


def say(text=""):
    print(text, flush=True)


def chapter(title):
    say()
    say(style(1, title))


def command(text):
    say("  " + style(1, "$ " + text))


def indented(text):
    for line in text.rstrip("\n").split("\n"):
        say("    " + line)


def table(rows, colour=None):
    """Rows of equal length; the first is the head. colour: gives a cell's environment, or None."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for number, row in enumerate(rows):
        cells = []
        for i, cell in enumerate(row):
            padded = cell.ljust(widths[i])
            if number == 0:
                padded = style(2, padded)
            elif colour and i:
                padded = of(colour(cell), padded)
            cells.append(padded)
        say("  " + "  ".join(cells).rstrip())
