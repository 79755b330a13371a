#!/usr/bin/python3
#
# Sum up what "meson test" wrote down
#
# SPDX-License-Identifier: GPL-2.0-or-later
"""Print what failed, and last of all `N passed, M failed, K skipped`.

Meson counts programs. Here each subtest of a program that speaks TAP counts,
and a program that broke off without a failed subtest is one failure more.
Meson also keeps back what such programs print, which is where the reason is.
"""

import json
import sys
import xml.etree.ElementTree as xml
from pathlib import Path

GOOD = ('OK', 'SKIP', 'EXPECTEDFAIL')

VERSION = Path(__file__).resolve().parent.parent / 'VERSION'

# How much of what a program printed is shown.
TAIL = 200


def verdict(case):
    """Index of one test case of JUnit into [passed, failed, skipped]."""
    if case.find('failure') is not None or case.find('error') is not None:
        return 1
    return 0 if case.find('skipped') is None else 2


def count_suites(junit):
    """{suite: [passed, failed, skipped]} from meson's JUnit file."""
    counts = {}
    for suite in xml.parse(junit).getroot().iter('testsuite'):
        count = counts.setdefault(suite.get('name'), [0, 0, 0])
        for case in suite.iter('testcase'):
            count[verdict(case)] += 1
    return counts


def read_programs(log):
    """What meson's JSON file says, an entry a program."""
    with open(log, encoding='utf-8') as file:
        return [json.loads(line) for line in file]


def suite_of(program, counts):
    """The counts of a program's subtests, None if it has none."""
    # The name is "project:suites / name", or "name" if there is one suite; that
    # of JUnit is "project." and the same.
    name = program['name'].split(' / ')[-1]
    found = [count for suite, count in counts.items()
             if suite.partition('.')[2].split(' / ')[-1] == name]
    return found[0] if found else None


def broke_off(program, counts):
    """Whether a program failed beside all of its subtests."""
    suite = suite_of(program, counts)
    return (program['result'] not in GOOD and suite is not None
            and suite[1] == 0)


def show(program):
    """Print the end of what a failed program said, but not what went well."""
    lines = program.get('stdout', '').splitlines()
    lines = [line for line in lines if not line.startswith('ok ')]
    lines += program.get('stderr', '').splitlines()
    print(f'== {program["name"]}: {program["result"]}')
    if len(lines) > TAIL:
        print(f'... {len(lines) - TAIL} lines left out')
    print('\n'.join(lines[-TAIL:]))
    print()


def main():
    """Command line: meson's logs, without what their names end in."""
    logs = sys.argv[1]
    if logs == '--version':
        print(f'summary.py (age) {VERSION.read_text("utf-8").strip()}')
        return 0
    counts = {}
    programs = []
    if Path(logs + '.junit.xml').exists():
        counts = count_suites(logs + '.junit.xml')
        programs = read_programs(logs + '.json')
    for program in programs:
        if program['result'] not in GOOD:
            show(program)
    passed, failed, skipped = (sum(count[i] for count in counts.values())
                               for i in range(3))
    failed += sum(1 for program in programs if broke_off(program, counts))
    print(f'{passed} passed, {failed} failed, {skipped} skipped')
    return 1 if failed or not passed else 0


if __name__ == '__main__':
    sys.exit(main())
