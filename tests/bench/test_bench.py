#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
The benchmarks: that they run and print, whatever the figures are.
"""

import argparse
import importlib.util
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
TOP = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TOP / "scripts"), str(TOP / "tests/functional")]

import tap
from agelib.bench import compare, program, show
from agelib.bench.figures import BenchError, Pair, Sample, single, skipped
from agelib.bench.report import read_report
from agelib.guest.workload import GUESTS, images_present
from agelib.qemu.patience import PATIENCE
from agelib.terminal import WIDTH, Terminal


def run_bench(*options):
    """scripts/bench, which is not to build anything."""
    return subprocess.run(
        [str(TOP / "scripts/bench"), "--no-build", *options], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        timeout=PATIENCE)


def run_plots(path, folder, **env):
    """scripts/bench-plots, with these changes of the environment."""
    return subprocess.run(
        [str(TOP / "scripts/bench-plots"), str(path), str(folder)], text=True,
        env=os.environ | env, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, check=False, timeout=PATIENCE)


def pair_result():
    """A result of three pairs."""
    pair = Pair()
    for base, candidate in (2, 3), (4, 4), (1, 10):
        pair.add(Sample(base, 1), Sample(candidate, 2))
    return pair.result("load", "a pair", 1.2)


def made_up(values, results=()):
    """A report with a result of these runs, and others."""
    host = {"processor": "one", "cpus": 2, "memory-mib": 1024,
            "kernel": "6.1", "load-before": 0.5}
    return {"version": 1, "quick": False, "host": host,
            "results": [single("table", "x", "ns", values).json(), *results]}


def load_pair(name, base, candidate, row="load", amount=None):
    """A pair of a few runs of each side, in seconds."""
    pair = Pair()
    for times in zip(base, candidate, strict=True):
        pair.add(*map(Sample, times))
    about = {"amount": amount} if amount else None
    return pair.result(row, name, about=about).json()


def two_reports():
    """A and B, which differ in all ways that a comparison tells."""
    def values(name, *runs, unit="us"):
        return single("call", name, unit, runs).json()

    old = made_up([10, 11, 12], [
        values("faster", 5, 6, 7), values("as before", 5, 6, 7),
        values("touching", 5, 6, 7), values("below", 5, 6, 7),
        values("zero", 0, 0), values("once", 4),
        values("twice", 1, 1), values("twice", 2, 2), values("removed", 1, 2),
        values("other unit", 1, 2), skipped("call", "large", "no room").json(),
        load_pair("load", (2, 2, 2), (2, 2.2, 2.1), amount=100),
        load_pair("boot", (4, 4), (4, 4.4)),
        load_pair("pace", (2, 2), (2, 2), "rate"),
        skipped("plugin", "both", "no plugin").json()])
    new = made_up([12.5, 13, 14], [
        values("added", 3, 4), values("twice", 2, 2), values("twice", 1, 1),
        values("faster", 2, 3, 4), values("as before", 4, 6.3, 9),
        values("touching", 7, 8, 9), values("below", 3, 4, 5),
        values("zero", 1, 2), values("once", 8),
        values("other unit", 1, 2, unit="ms"), values("large", 1, 2),
        load_pair("load", (4, 4, 4), (6.3, 6.2, 6.4), amount=200),
        load_pair("boot", (8, 8), (4, 4)),
        load_pair("pace", (2, 2), (3, 3), "rate"),
        skipped("plugin", "both", "no plugin").json()])
    return old, new


class Figures(unittest.TestCase):
    """What figures come to, and how they look."""

    def test_pair(self):
        """Each run is compared to its neighbour, not to the median."""
        figures = pair_result().json()["figures"]
        self.assertEqual(figures["ratio"]["values"], [1.5, 1, 10])
        self.assertEqual(figures["ratio"]["median"], 1.5)
        self.assertEqual(figures["ratio"]["min"], 1)
        self.assertEqual(figures["ratio"]["max"], 10)
        self.assertEqual(figures["ratio"]["runs"], 3)
        self.assertEqual(figures["base"]["median"], 2)
        self.assertEqual(figures["candidate"]["median"], 4)
        self.assertEqual(figures["cpu-ratio"]["median"], 2)

    def test_goals(self):
        """The goal of a pair is for its ratio."""
        self.assertFalse(show.met(pair_result().json()))
        value = single("table", "a value", "ns", [1, 5, 2], 2).json()
        self.assertTrue(show.met(value))
        value["goal"] = 1.9
        self.assertFalse(show.met(value))
        self.assertIsNone(show.met(skipped("call", "x", "y").json()))

    def test_pages(self):
        """Tables of both kinds have all of it."""
        report = {"quick": False, "host": program.host(), "results": [
            pair_result().json(), single("table", "one", "ns", [7]).json(),
            skipped("table", "another", "too large").json()]}
        stream = io.StringIO()
        show.print_report(Terminal(stream), report)
        text = stream.getvalue()
        self.assertRegex(text, r"ratio +1.500 +1.000 +10.000 +3  <= 1.2 !")
        self.assertRegex(text, r"one, ns +7.00 +7.00 +7.00 +1\n")
        self.assertIn("another: skipped: too large", text)
        rst = "\n".join(show.rst_lines(report))
        self.assertIn("a pair (2.00 → 4.00 s)\n     - 1.500\n"
                      "     - 1.000 – 10.000\n     - 3\n     - <= 1.2", rst)
        self.assertIn("   * - another\n     - –\n     - too large", rst)


def broken_reports():
    """What each text that is no report is refused with."""
    good = json.dumps(made_up([1, 2, 3]))
    yield "", "is not JSON"
    yield good[:-9], "is not JSON"
    yield "[" * 100000, "is not JSON"
    yield "[]", "it is not an object"
    yield "{}", "version is missing"
    for before, after, what in (
            ('"version": 1', '"version": 2', "its version is not 1"),
            ('"version": 1', '"version": true', "its version is not 1"),
            ('"quick": false, ', "", "quick is missing"),
            ('"cpus": 2', '"cpus": "2"', "host.cpus is not a count"),
            ('"results": [', '"results": [7, ', "results[0] is not an object"),
            ('"name": "x"', '"name": "\\ud800"',
             "results[0].name is not a text of one line"),
            ('"name": "x"', '"name": "x\\u001b[2J"',
             "results[0].name is not a text of one line"),
            ('"unit": "ns", ', "", "results[0].unit is missing"),
            ('"value"', '"ratio"', "results[0].figures.base is missing"),
            ('"value"', '"base"', "results[0].figures.value is missing"),
            ('"median": 2', '"median": NaN',
             "results[0].figures.value.median is not a number"),
            ('"median": 2', '"median": 1' + 400 * "0",
             "results[0].figures.value.median is not a number"),
            ('"median": 2', '"median": 4', "not in this order"),
            ('"runs": 3', '"runs": 0', "results[0].figures.value.runs is 0")):
        text = good.replace(before, after)
        assert text != good, before
        yield text, "is no report of --json: .*" + re.escape(what)


class Compare(unittest.TestCase):
    """scripts/bench --compare."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="age-")
        self.addCleanup(folder.cleanup)
        self.paths = [str(Path(folder.name) / name) for name in ("A", "B")]

    def compare(self, old, new):
        """The lines of a comparison."""
        for path, report in zip(self.paths, (old, new)):
            Path(path).write_text(json.dumps(report), "utf-8")
        stream = io.StringIO()
        compare.compare(Terminal(stream), *self.paths)
        return stream.getvalue().splitlines()

    def test_table(self):
        """What is in both files: medians, ratios and marks."""
        lines = self.compare(*two_reports())
        for line in ("x, ns 11.00 13.00 1.182 worse",
                     "faster, us 6.00 3.00 0.500 better",
                     "as before, us 6.00 6.30 1.050",
                     "touching, us 6.00 8.00 1.333",
                     "below, us 6.00 4.00 0.667",
                     "zero, us 0.000 1.50 - worse",
                     "once, us 4.00 8.00 2.000 1 run",
                     "twice, us 1.00 2.00 2.000 worse",
                     "twice, us 2.00 1.00 0.500 better",
                     # B's load did twice as much, in three times the time.
                     "load 1.050 1.575 1.500 1.500 worse",
                     "boot 1.050 0.500 0.476 0.952 better",
                     "pace 1.000 1.500 1.500 - worse",
                     "12 results in both files: 5 worse, 3 better"):
            self.assertIn(line.split(), [line.split() for line in lines])
        for line in lines:
            self.assertLessEqual(len(line), WIDTH, line)

    def test_rest(self):
        """What can't be compared is told, under the name of its file."""
        text = "\n".join(self.compare(*two_reports()))
        a, b = (re.escape(path) for path in self.paths)
        self.assertRegex(text, f"(?m)^Only in A .{a}.:\n  call: removed\n\n"
                               f"Only in B .{b}.:\n  call: added\n\n")
        self.assertRegex(text, f"(?m)^Skipped in A .{a}.:\n"
                               "  call: large: no room\n"
                               "  plugin: both: no plugin\n\n")
        self.assertRegex(text, f"(?m)^Skipped in B .{b}.:\n"
                               "  plugin: both: no plugin\n\n")
        self.assertIn("  call: other unit: us in A, ms in B", text)

    def test_head(self):
        """Where both are from, and warnings only where there is a reason."""
        old, new = made_up([1, 2]), made_up([1, 2])
        old["commit"], new["commit"] = "old-one", "new-one"
        lines = self.compare(old, new)
        for i, commit in enumerate(("old-one", "new-one")):
            self.assertEqual(lines[2 * i], f"{'AB'[i]}: {self.paths[i]}")
            self.assertEqual(lines[2 * i + 1], f"   commit {commit}; one, "
                             "2 CPUs, 1024 MiB, Linux 6.1, load 0.50")
        self.assertNotIn("warning", "\n".join(lines))
        new["quick"] = True
        new["host"]["cpus"] = 4
        warnings = [line for line in self.compare(old, new)
                    if line.startswith("warning: ")]
        self.assertEqual(len(warnings), 2, warnings)
        self.assertIn("different hosts: cpus (2; 4)", warnings[0])
        self.assertIn("B is of --quick", warnings[1])

    def test_program(self):
        """It takes two files, and a regression is no failure."""
        self.compare(*two_reports())
        done = run_bench("--compare", *self.paths)
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn("12 results in both files: 5 worse", done.stdout)
        for more in ["table"], ["--quick"], ["--max-gib", "1"], ["--list"]:
            done = run_bench("--compare", *self.paths, *more)
            self.assertEqual(done.returncode, 2, more)
            self.assertIn("--compare takes two files, and no ", done.stdout)

    def test_broken(self):
        """The file that is none is named, whichever of them it is."""
        self.compare(*two_reports())
        for i, path in enumerate(self.paths):
            paths = list(self.paths)
            paths[i] = path + ".broken"
            self.refused(paths, paths[i], "No such file or directory")
            Path(paths[i]).write_text('{"version": 1}', "utf-8")
            self.refused(paths, paths[i], "quick is missing")

    def refused(self, paths, culprit, what):
        """One line, and nothing of a table before it."""
        done = run_bench("--compare", *paths)
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertRegex(done.stdout,
                         f"^bench: {re.escape(culprit)}.*{what}\n$")


class Program(unittest.TestCase):
    """scripts/bench."""

    def refused(self, path, what, *options):
        """A bad file is told by one line, which has its name."""
        done = run_bench(*options)
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertRegex(done.stdout,
                         f"^bench: {re.escape(str(path))}.*{what}.*\n$")

    def test_broken(self):
        """No text that is no report is shown, and none ends in a mess."""
        with tempfile.TemporaryDirectory(prefix="age-") as folder:
            path = Path(folder) / "broken.json"
            self.refused(folder, "Is a directory", "--show", folder)
            self.refused(path, "No such file", "--rst", str(path))
            for text, what in broken_reports():
                path.write_text(text, "utf-8")
                with self.assertRaisesRegex(BenchError, what):
                    read_report(str(path))
            path.write_text("{}", "utf-8")
            for option in "--show", "--rst":
                self.refused(path, "version is missing", option, str(path))
            path.write_bytes(b"\xff")
            self.refused(path, "is not JSON", "--show", str(path))

    def test_options(self):
        """What makes no sense is refused before anything is built."""
        listed = run_bench("--list")
        self.assertEqual(listed.returncode, 0)
        for row in program.ROWS:
            self.assertIn(f"{row} ", listed.stdout)
        for options in ["no-such-row"], ["--runs", "0"], ["--arch", "vax"]:
            self.assertEqual(run_bench(*options).returncode, 2, options)
        missing = run_bench("--show", "/no/such/file")
        self.assertEqual(missing.returncode, 1)
        self.assertRegex(missing.stdout, "^bench: /no/such/file.*\n$")

    def test_plots(self):
        """Plots of what there is; without matplotlib it says what lacks."""
        report = {"results": [
            single("table", "x", "ns/page", [1, 3], about={
                "gib": 1, "row": "test"}).json()]}
        with tempfile.TemporaryDirectory(prefix="age-") as folder:
            path = Path(folder) / "bench.json"
            path.write_text(json.dumps(report), "utf-8")
            (Path(folder) / "matplotlib.py").write_text("raise ImportError\n",
                                                        "utf-8")
            done = run_plots(path, folder, PYTHONPATH=folder)
            self.assertEqual(done.returncode, 1)
            self.assertIn("python3-matplotlib", done.stdout)
            if importlib.util.find_spec("matplotlib"):
                done = run_plots(path, folder)
                self.assertEqual(done.returncode, 0, done.stdout)
                png = Path(folder) / "age-bench-size.png"
                self.assertEqual(png.read_bytes()[1:4], b"PNG")

    def test_quick(self):
        """Every row of the quick mode has figures."""
        with tempfile.TemporaryDirectory(prefix="age-") as folder:
            path = Path(folder) / "bench.json"
            done = run_bench("--quick", "--json", str(path))
            self.assertEqual(done.returncode, 0, done.stdout)
            report = json.loads(path.read_text("utf-8"))
            shown = run_bench("--show", str(path))
        for line in done.stdout.splitlines():
            self.assertLessEqual(len(line), WIDTH, line)
        for result in report["results"]:
            self.check(result)
            self.assertIn(result["name"], done.stdout)
            self.assertIn(result["name"], shown.stdout)
        rows = {result["row"] for result in report["results"]}
        self.assertEqual(rows, set(program.QUICK_ROWS))
        print(f"# {len(report['results'])} results", flush=True)

    def check(self, result):
        """One result has figures, or a good reason for having none."""
        if "skipped" in result:
            self.assertFalse(all(map(images_present, GUESTS)), result)
            self.assertIn("images", result["skipped"])
            return
        self.assertTrue(result["figures"], result)
        for figure in result["figures"].values():
            self.assertGreater(figure["min"], 0, result)
            self.assertLessEqual(figure["min"], figure["median"])
            self.assertLessEqual(figure["median"], figure["max"])
            self.assertEqual(figure["runs"], len(figure["values"]))


def main():
    """Runs all, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", metavar="DIR",
                        help="where emulators and guests are")
    parser.add_argument("only", nargs="*", metavar="CLASS",
                        help="Figures, Compare or Program[.test]; default: all")
    args = parser.parse_args()
    if args.build:
        os.environ["AGE_BUILD"] = args.build
    load = unittest.defaultTestLoader.loadTestsFromTestCase
    tap.run(unittest.TestSuite(
        test for cls in (Figures, Compare, Program) for test in load(cls)
        if not args.only or cls.__name__ in args.only or
        tap.name_of(test) in args.only))


if __name__ == "__main__":
    main()
