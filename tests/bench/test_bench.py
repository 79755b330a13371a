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
from agelib.bench import program, show
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


def made_up(values):
    """A report with one result, of these runs."""
    host = {"processor": "one", "cpus": 2, "memory-mib": 1024,
            "kernel": "6.1", "load-before": 0.5}
    return {"version": 1, "quick": False, "host": host,
            "results": [single("table", "x", "ns", values).json()]}


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
        """Plots of what there is; without matplotlib it says what is missing."""
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
                        help="Figures or Program[.test]; default: all")
    args = parser.parse_args()
    if args.build:
        os.environ["AGE_BUILD"] = args.build
    load = unittest.defaultTestLoader.loadTestsFromTestCase
    tap.run(unittest.TestSuite(
        test for cls in (Figures, Program) for test in load(cls)
        if not args.only or cls.__name__ in args.only or
        tap.name_of(test) in args.only))


if __name__ == "__main__":
    main()
