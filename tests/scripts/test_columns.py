#!/usr/bin/python3
#
# Tests of columns.py, by which the style check looks at documentation
#
# SPDX-License-Identifier: GPL-2.0-or-later
"""Texts with long lines, and which of them may stay."""

import sys
import unittest

sys.dont_write_bytecode = True

from columns import WIDTH, too_long

LONG = 'word ' * 17
ADDRESS = 'https://example.org/' + 'a' * WIDTH


class ColumnsTest(unittest.TestCase):
    """What is told to be too long."""

    def numbers(self, text, markdown=False):
        """The lines that are complained about."""
        return [number for number, _ in too_long(text.split('\n'), markdown)]

    def test_limit(self):
        fits = 'a ' * (WIDTH // 2 - 1) + 'ab'
        self.assertEqual(len(fits), WIDTH)
        for markdown in False, True:
            self.assertEqual(self.numbers(f'{fits}\n{fits}c', markdown), [2])

    def test_words(self):
        for markdown in False, True:
            self.assertEqual(self.numbers(f'{ADDRESS}\n- {ADDRESS}\n'
                                          f'see {ADDRESS}', markdown), [3])

    def test_word_behind_the_limit(self):
        self.assertEqual(self.numbers('a' * (WIDTH + 1) + ' b'), [])
        self.assertEqual(self.numbers('a' * WIDTH + ' b'), [1])

    def test_rst_literal(self):
        self.assertEqual(self.numbers(
            f'Text::\n\n  {LONG}\n\n  {LONG}\n\n{LONG}'), [7])
        self.assertEqual(self.numbers(
            f'.. parsed-literal::\n\n   {LONG}\n{LONG}'), [4])

    def test_rst_table(self):
        self.assertEqual(self.numbers(
            f'.. list-table::\n\n   * - {LONG}\n     - b'), [3])

    def test_markdown_code(self):
        self.assertEqual(self.numbers(
            f'Text\n\n    {LONG}\n\n    {LONG}\n\n{LONG}', True), [7])
        self.assertEqual(self.numbers(
            f'```\n{LONG}\n```\n{LONG}', True), [4])
        self.assertEqual(self.numbers(
            f'- item\n  {LONG}\n    {LONG}', True), [2, 3])


if __name__ == '__main__':
    unittest.main()
