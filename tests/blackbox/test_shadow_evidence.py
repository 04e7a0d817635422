"""`offshootctl shadow evidence` beside an independent calculation: exact fractions where the counts
are small, fifty digits and sums of terms where they are large, the formulas taken as the reference
has them (docs/internals/statistics.md)."""

import json
import math
import random
import re
import subprocess
import unittest
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, localcontext
from fractions import Fraction

from harness import BUILD, ROOT

WIDE = Context(prec=50, Emax=MAX_EMAX, Emin=MIN_EMIN)  # the evidence is no small number
LAMBDAS = ("0.01", "0.03", "0.1", "0.25", "0.5", "0.75", "0.9")
THRESHOLD = {"headline": 320, "field": 163840}


def log10_of(fraction):
    return Decimal(fraction.numerator).log10() - Decimal(fraction.denominator).log10()


def fail_exact(b, c):
    """2^(b+c+1) b! c! / (b+c+1)! P[Bin(b+c+1, 1/2) <= b], as a fraction."""
    n = b + c + 1
    tail = Fraction(sum(math.comb(n, k) for k in range(b + 1)), 2**n)
    factorials = Fraction(math.factorial(b) * math.factorial(c), math.factorial(n))
    return 2**n * factorials * tail


def ln_factorial(n):
    """Stirling's series, at least 40 digits of it for n > 1000; a product below."""
    if n <= 1000:
        return Decimal(math.factorial(n)).ln()
    bernoulli = [(1, 6), (-1, 30), (1, 42), (-1, 30), (5, 66), (-691, 2730), (7, 6), (-3617, 510)]
    x = Decimal(n)
    two_pi = 2 * Decimal("3.14159265358979323846264338327950288419716939937510582")
    total = (x + Decimal("0.5")) * x.ln() - x + two_pi.ln() / 2
    for i, (top, bottom) in enumerate(bernoulli):
        k = 2 * (i + 1)
        total += Decimal(top) / bottom / (k * (k - 1)) / x ** (k - 1)
    return total


def fail_large(b, c):
    """The same by terms of the binomial sum from its largest one on; the rest is below 1e-40."""
    n = b + c + 1
    top = min(b, n // 2)  # the largest term of those up to b
    ln_top = ln_factorial(n) - ln_factorial(top) - ln_factorial(n - top)
    total = Decimal(1)
    term, k = Decimal(1), top
    while k > 0 and term > total * Decimal(10) ** -40:
        term *= Decimal(k) / (n - k + 1)
        k -= 1
        total += term
    term, k = Decimal(1), top
    while k < b and term > total * Decimal(10) ** -40:
        term *= Decimal(n - k) / (k + 1)
        k += 1
        total += term
    ln = ln_factorial(b) + ln_factorial(c) - ln_factorial(n) + ln_top + total.ln()
    return ln / Decimal(10).ln()


def pass_log10(n, b, c, epsilon):
    e = Decimal(epsilon)
    total = Decimal(0)
    for text in LAMBDAS:
        rate = Decimal(text) / (1 - e)
        total += ((n - b - c) * (1 + rate * e).ln() + b * (1 + rate * (e - 1)).ln()
                  + c * (1 + rate * (e + 1)).ln()).exp()
    return (total / len(LAMBDAS)).log10()


def ask(n, b, c, *more):
    done = subprocess.run(
        [BUILD / "offshootctl", "shadow", "evidence", "--json", "--pairs", str(n),
         "--candidate-only", str(b), "--secondary-only", str(c), *more],
        stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


class Exactness(unittest.TestCase):
    def assert_digits(self, have, want, where):
        """Nine digits of the logarithm; what is 0 has to be 0."""
        error = abs(Decimal(have) - want)
        self.assertLessEqual(error, abs(want) * Decimal(10) ** -9, (where, have, want))

    def check(self, n, b, c, epsilon, fail):
        where = (n, b, c, epsilon)
        have = ask(n, b, c, "--epsilon", epsilon)
        passed = pass_log10(n, b, c, epsilon)
        self.assert_digits(have["fail_log10"], fail, where)
        self.assert_digits(have["pass_log10"], passed, where)
        want = "inconclusive"
        if fail >= Decimal(320).log10():
            want = "fail"
        elif passed >= Decimal(20).log10():
            want = "pass"
        self.assertEqual(want, have["verdict"], where)

    def test_small_counts_against_fractions(self):
        pick = random.Random(11)
        grid = [(b, c) for b in (0, 1, 2, 3, 9, 30) for c in (0, 1, 2, 5, 31)]
        grid += [(pick.randrange(2000), pick.randrange(2000)) for _ in range(30)]
        with localcontext(WIDE):
            for b, c in grid:
                n = b + c + pick.choice([0, 1, 50, 3000])
                epsilon = pick.choice(["0.01", "0.001", "0.05", "0.5"])
                self.check(n, b, c, epsilon, log10_of(fail_exact(b, c)))

    def test_large_counts_against_sums_of_terms(self):
        million, most = 10**6, 10**9
        grid = [(million, 10, 3), (million, 9999, 10001), (million, 10001, 10001),
                (million, 12000, 10010), (million, 500000, 500000), (most, 1000, 1200000),
                (most, 300000, 290000), (most, 500000000, 500000000),
                (most, 250030000, 250000000), (most, 249970000, 250000000), (most, most, 0),
                (most, 0, most), (most, 999000000, 1000000), (most, 0, 0)]
        with localcontext(WIDE):
            for n, b, c in grid:
                self.check(n, b, c, "0.01", fail_large(b, c))

    def test_the_two_independent_ways_agree(self):
        with localcontext(WIDE):
            for b, c in ((3, 4), (1200, 1100), (900, 1500), (2000, 3)):
                error = abs(log10_of(fail_exact(b, c)) - fail_large(b, c))
                self.assertLess(error, Decimal(10) ** -30, (b, c))


class Verdicts(unittest.TestCase):
    def test_thresholds_of_both_kinds_of_slots(self):
        for slot, first in (("headline", 11), ("field", 21)):
            self.assertLess(fail_exact(first - 1, 0), THRESHOLD[slot])
            self.assertGreaterEqual(fail_exact(first, 0), THRESHOLD[slot])
            before = ask(50, first - 1, 0, "--slot", slot)
            self.assertEqual("inconclusive", before["verdict"])
            self.assertGreater(before["samples_needed"], 0)
            at = ask(50, first, 0, "--slot", slot)
            self.assertEqual(("fail", 0), (at["verdict"], at["samples_needed"]))

    def test_the_figure_for_planning_is_what_a_clean_run_takes(self):
        for epsilon in ("0.01", "0.002", "0.1"):
            planned = ask(0, 0, 0, "--epsilon", epsilon)["samples_needed"]
            self.assertEqual("pass", ask(planned, 0, 0, "--epsilon", epsilon)["verdict"])
            early = ask(planned - 1, 0, 0, "--epsilon", epsilon)
            self.assertEqual(("inconclusive", 1), (early["verdict"], early["samples_needed"]))

    def test_what_cannot_be_told_is_null(self):
        most = 10**9
        answer = ask(most, 5, 5, "--epsilon", "0.0000000001")
        self.assertEqual(("inconclusive", None), (answer["verdict"], answer["samples_needed"]))


class Documented(unittest.TestCase):
    """What the documentation shows is what the command prints."""

    def check(self, page, least):
        text = (ROOT / page).read_text()
        seen = 0
        for block in re.findall(r"(?ms)^```\n(\$ offshootctl shadow evidence.*?)^```$", text):
            for example in re.split(r"(?m)^\$ offshootctl ", block)[1:]:
                command, want = example.split("\n", 1)
                done = subprocess.run([BUILD / "offshootctl", *command.split()],
                                      stdout=subprocess.PIPE, text=True, check=True)
                self.assertEqual(want, done.stdout, command)
                seen += 1
        self.assertGreaterEqual(seen, least)

    def test_examples(self):
        self.check("docs/internals/statistics.md", 5)
        self.check("docs/offshootctl.md", 2)


class Misuse(unittest.TestCase):
    def refuse(self, *args):
        done = subprocess.run([BUILD / "offshootctl", "shadow", "evidence", *args],
                              capture_output=True, text=True, check=False)
        self.assertEqual((1, ""), (done.returncode, done.stdout))
        return done.stderr

    def counts(self, n, b, c, *more):
        return self.refuse("--pairs", n, "--candidate-only", b, "--secondary-only", c, *more)

    def test_errors_name_what_is_wrong(self):
        self.assertIn("want shadow evidence --pairs N", self.refuse())
        self.assertIn("--secondary-only N", self.refuse("--pairs", "1", "--candidate-only", "1"))
        self.assertIn("more differences than pairs: 2 and 2 of 3", self.counts("3", "2", "2"))
        for bad in ("-1", "1e3", "1000000001", ""):
            self.assertIn(f"up to 1000000000, not '{bad}'", self.counts(bad, "0", "0"))
        for bad in ("0", "0.51", "nan", "1e-2", "", ".", "0.0.1"):
            self.assertIn(f"up to 0.5, not '{bad}'", self.counts("1", "0", "0", "--epsilon", bad))
        self.assertIn("wants headline or field, not 'status'",
                      self.counts("1", "0", "0", "--slot", "status"))


if __name__ == "__main__":
    unittest.main()
