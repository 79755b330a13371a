#!/usr/bin/python3
#
# Tests of scripts/age-tables
#
# SPDX-License-Identifier: GPL-2.0-or-later
"""Tables built by hand from the manuals, and what must be said of them."""

import json
import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
SCRIPTS = Path(__file__).resolve().parents[2] / 'scripts'
sys.path.insert(0, str(SCRIPTS))

from agelib.tables.dump import Dump, merge
from agelib.tables.entry import TablesError
from agelib.tables.ept import Ept

ROOT = 0x7f0000040000
FRAME = 0x7f1000000000

EPTP4 = ROOT | 0x5e             # write-back, 4 levels, A and D
EPTP5 = ROOT | 0x66             # 5 levels
EPTP_NO_AD = ROOT | 0x1e
EPT_TABLE = 0x907
EPT_PAGE = 0x837                # RWX, write-back, software bit 11

# T0SZ and SL0 for each width; RES1; HA, HD and HAFT
VTCR_AD = 1 << 31 | 1 << 21 | 1 << 22 | 1 << 44
VTCR48 = VTCR_AD | 16 | 2 << 6
VTCR40 = VTCR_AD | 24 | 1 << 6
VTCR32 = VTCR_AD | 32 | 1 << 6
S2_TABLE = 0x403
DBM = 1 << 51
XN = 1 << 54
S2_PAGE = 0x77f | DBM           # normal, inner shareable, AF, readable


class Tables:
    """A file in the making; tables are taken one behind the other."""

    def __init__(self, eptp=0, vtcr=0, roots=1):
        self.registers = (eptp, ROOT if vtcr else 0, vtcr)
        self.tables = {ROOT + i * 4096: [0] * 512 for i in range(roots)}

    def table(self):
        """A further table; returns its address."""
        address = ROOT + len(self.tables) * 4096
        self.tables[address] = [0] * 512
        return address

    def put(self, indexes, leaf, link):
        """A leaf, and the tables on the way to it; @link makes an entry."""
        table = ROOT + (indexes[0] >> 9) * 4096
        for index in indexes[:-1]:
            slot = index % 512
            entries = self.tables[table]
            if not entries[slot]:
                entries[slot] = self.table() | link
            table = entries[slot] & 0xfffffffff000
        self.tables[table][indexes[-1] % 512] = leaf

    def data(self):
        """The file."""
        data = struct.pack('<8s5Q', b'AGETABLE', 1, *self.registers,
                           len(self.tables))
        for address, entries in self.tables.items():
            data += struct.pack('<513Q', address, *entries)
        return data

    def leaves(self):
        """What is decoded."""
        return list(Dump(self.data()).leaves())


def ept(*leaves, eptp=EPTP4):
    """Tables of EPT with these ((index, ...), value)."""
    tables = Tables(eptp=eptp)
    for indexes, value in leaves:
        tables.put(indexes, value, EPT_TABLE)
    return tables


def stage2(*leaves, vtcr=VTCR48, roots=1):
    """The same for stage 2."""
    tables = Tables(vtcr=vtcr, roots=roots)
    for indexes, value in leaves:
        tables.put(indexes, value, S2_TABLE)
    return tables


class EptTest(unittest.TestCase):
    """Intel's entries."""

    def test_page(self):
        leaf, = ept(((0, 1, 2, 3), FRAME | EPT_PAGE | 0x300)).leaves()
        self.assertEqual(leaf.gpa, 1 << 30 | 2 << 21 | 3 << 12)
        self.assertEqual((leaf.level, leaf.index, leaf.size), (1, 3, 4096))
        self.assertEqual(leaf.address, FRAME)
        self.assertEqual((leaf.read, leaf.write, leaf.execute), (True,) * 3)
        self.assertEqual((leaf.accessed, leaf.dirty), (True, True))
        self.assertEqual(leaf.memory_type, 'WB')
        self.assertEqual((leaf.software, leaf.problems), (0x800, ()))

    def test_old_and_clean(self):
        for bits, young, dirty in ((0, False, False), (0x100, True, False),
                                   (0x200, False, True)):
            leaf, = ept(((0, 0, 0, 0), FRAME | EPT_PAGE | bits)).leaves()
            self.assertEqual((leaf.accessed, leaf.dirty), (young, dirty))

    def test_five_levels(self):
        leaf, = ept(((2, 0, 0, 0, 1), FRAME | EPT_PAGE),
                    eptp=EPTP5).leaves()
        self.assertEqual(leaf.gpa, 2 << 48 | 1 << 12)
        self.assertEqual(leaf.level, 1)

    def test_blocks(self):
        small, large = ept(((0, 0, 5), FRAME | EPT_PAGE | 0x80),
                           ((0, 7), FRAME | EPT_PAGE | 0x80)).leaves()
        self.assertEqual((small.gpa, small.size, small.level),
                         (5 << 21, 2 << 20, 2))
        self.assertEqual((large.gpa, large.size, large.level),
                         (7 << 30, 1 << 30, 3))
        self.assertEqual((small.problems, large.problems), ((), ()))

    def test_read_only_and_device(self):
        rom, device = ept(((0, 0, 0, 0), FRAME | 0x835),
                          ((0, 0, 0, 1), FRAME | 0x807)).leaves()
        self.assertEqual((rom.read, rom.write, rom.execute),
                         (True, False, True))
        self.assertEqual(rom.memory_type, 'WB')
        self.assertEqual((device.write, device.memory_type), (True, 'UC'))

    def test_memory_types(self):
        for number, name in ((0, 'UC'), (1, 'WC'), (4, 'WT'), (5, 'WP'),
                             (6, 'WB')):
            leaf, = ept(((0, 0, 0, 0), FRAME | 7 | number << 3)).leaves()
            self.assertEqual((leaf.memory_type, leaf.problems), (name, ()))

    def test_misconfigured(self):
        for indexes, value in (((0, 0, 0, 0), FRAME | 0x36),
                               ((0, 0, 0, 0), FRAME | 7 | 2 << 3),
                               ((0, 0, 0), FRAME | 0xb7 | 1 << 12),
                               ((0, 0), FRAME | 0xb7 | 1 << 21)):
            leaf, = ept((indexes, value)).leaves()
            self.assertTrue(leaf.problems, hex(value))
        # The table entry of a PML4 has no bit 7.
        tables = ept(((0, 0, 0, 0), FRAME | EPT_PAGE))
        tables.tables[ROOT][0] |= 0x80
        entry = next(Dump(tables.data()).entries())
        self.assertEqual((entry.leaf, entry.problems),
                         (False, ('reserved bits',)))

    def test_not_present(self):
        """Without R, W and X nothing is there, whatever else is."""
        self.assertEqual(ept(((0, 0, 0, 0), FRAME | 0x330)).leaves(), [])

    def test_without_ad(self):
        """Bits 8 and 9 are software's, and permissions tell what is young."""
        young, kept = ept(((0, 0, 0, 0), FRAME | EPT_PAGE | 1 << 8 | 1 << 58),
                          ((0, 0, 0, 1), FRAME | 0x830 | 0x5 << 54 | 1 << 58),
                          eptp=EPTP_NO_AD).leaves()
        self.assertEqual((young.present, young.accessed, young.dirty),
                         (True, True, None))
        self.assertEqual(young.software, 0x900 | 1 << 58)
        self.assertEqual((kept.present, kept.accessed, kept.read, kept.write,
                          kept.execute), (False,) * 5)
        self.assertEqual(kept.hints, ('tracked:RWX',))
        self.assertEqual(kept.address, FRAME)

    def test_pointer(self):
        for eptp in (ROOT | 0x56, ROOT | 0x6e, ROOT | 0x5d, ROOT | 0x15e):
            with self.assertRaises(TablesError):
                Dump(Tables(eptp=eptp).data())


class ExampleTest(unittest.TestCase):
    """The reference's example of query-age-walk."""

    def test_walk(self):
        """What is told of the entry is what the manual makes of its value."""
        text = (SCRIPTS.parent / 'qapi/age.json').read_text(encoding='utf-8')
        text = text[text.index('"execute": "query-age-walk"'):]
        text = text[text.index('<- ') + 3:text.index('##\n{')]
        answer = json.loads(text.replace('#', ''))
        self.assertTrue(answer['return']['entries'])
        for told in answer['return']['entries']:
            entry = Ept(EPTP4).decode(told['value'], told['level'] - 1)
            self.assertEqual(entry.software, 1 << 11)
            for name in 'level', 'leaf', 'read', 'write', 'execute', \
                    'accessed', 'address':
                self.assertEqual(getattr(entry, name), told[name], name)
            self.assertEqual(bool(entry.dirty), told['dirty'])


class Stage2Test(unittest.TestCase):
    """Arm's descriptors."""

    def test_page(self):
        leaf, = stage2(((0, 1, 2, 3), FRAME | S2_PAGE | 0x80)).leaves()
        self.assertEqual(leaf.gpa, 1 << 30 | 2 << 21 | 3 << 12)
        self.assertEqual((leaf.level, leaf.index), (3, 3))
        self.assertEqual(leaf.address, FRAME)
        self.assertEqual((leaf.read, leaf.write, leaf.execute), (True,) * 3)
        self.assertEqual((leaf.accessed, leaf.dirty), (True, True))
        self.assertEqual(leaf.memory_type, 'WB ISH')
        self.assertEqual((leaf.software, leaf.problems), (0, ()))

    def test_dirty_state(self):
        """DBM with hardware's help makes a clean page writable."""
        for vtcr, bits, write, dirty in (
                (VTCR48, DBM, True, False), (VTCR48, DBM | 0x80, True, True),
                (VTCR48, 0x80, True, None), (VTCR48, 0, False, None),
                (VTCR48 & ~(1 << 22), DBM, False, None),
                (VTCR48 & ~(1 << 22), DBM | 0x80, True, None)):
            leaf, = stage2(((0, 0, 0, 0), FRAME | 0x77f | bits),
                           vtcr=vtcr).leaves()
            self.assertEqual((leaf.write, leaf.dirty), (write, dirty))

    def test_accessed(self):
        leaf, = stage2(((0, 0, 0, 0), FRAME | 0x37f)).leaves()
        self.assertFalse(leaf.accessed)

    def test_table_flag(self):
        """A table has an accessed flag with HAFT only."""
        for vtcr, bits, accessed in (
                (VTCR48, 0x400, True), (VTCR48, 0, False),
                (VTCR48 & ~(1 << 44), 0x400, None)):
            tables = stage2(((0, 0, 0, 0), FRAME | S2_PAGE), vtcr=vtcr)
            tables.tables[ROOT][0] ^= 0x400 ^ bits
            entry = next(Dump(tables.data()).entries())
            self.assertEqual((entry.leaf, entry.accessed), (False, accessed))

    def test_blocks(self):
        small, large = stage2(((0, 0, 5), FRAME | 0x77d),
                              ((0, 7), FRAME | 0x77d | 1 << 16)).leaves()
        self.assertEqual((small.gpa, small.size, small.level),
                         (5 << 21, 2 << 20, 2))
        self.assertEqual((large.gpa, large.size, large.level),
                         (7 << 30, 1 << 30, 1))
        self.assertEqual((large.address, large.hints), (FRAME, ('nT',)))
        self.assertEqual((small.problems, large.problems), ((), ()))

    def test_no_such_block(self):
        """Bits 1:0 are 01 for blocks, which levels 0 and 3 do not have."""
        for indexes in ((0,), (0, 0, 0, 0)):
            self.assertEqual(stage2((indexes, FRAME | 0x77d)).leaves(), [])
        self.assertEqual(stage2(((0, 0, 0, 0), FRAME | 0x77e)).leaves(), [])

    def test_device(self):
        leaf, = stage2(((0, 0, 0, 0), FRAME | 0x4c7 | XN)).leaves()
        self.assertEqual((leaf.memory_type, leaf.execute),
                         ('Device-nGnRE', False))

    def test_memory_types(self):
        for attr, name in ((0, 'Device-nGnRnE'), (2, 'Device-nGRE'),
                           (3, 'Device-GRE'), (5, 'NC ISH'), (10, 'WT ISH'),
                           (14, 'WB/WT ISH')):
            leaf, = stage2(((0, 0, 0, 0), FRAME | 0x743 | attr << 2)).leaves()
            self.assertEqual((leaf.memory_type, leaf.problems), (name, ()))
        leaf, = stage2(((0, 0, 0, 0), FRAME | 0x743 | 4 << 2)).leaves()
        self.assertTrue(leaf.problems)

    def test_execute_never(self):
        for bits, execute in ((0, True), (1, 'EL0'), (2, False), (3, 'EL1')):
            leaf, = stage2(((0, 0, 0, 0), FRAME | S2_PAGE |
                            bits << 53)).leaves()
            self.assertEqual(leaf.execute, execute)

    def test_concatenated(self):
        """40 bits from level 1: the second table begins at 512 GiB."""
        leaf, = stage2(((0x201, 0, 3), FRAME | S2_PAGE), vtcr=VTCR40,
                       roots=2).leaves()
        self.assertEqual((leaf.gpa, leaf.level), (0x201 << 30 | 3 << 12, 3))

    def test_most_tables(self):
        """16 tables resolve four bits more than one: 43 from level 1."""
        leaf, = stage2(((0x1fff, 0, 3), FRAME | S2_PAGE),
                       vtcr=VTCR_AD | 21 | 1 << 6, roots=16).leaves()
        self.assertEqual(leaf.gpa, 0x1fff << 30 | 3 << 12)

    def test_part_of_a_root(self):
        """32 bits use four entries of the root; others are never read."""
        tables = stage2(((3, 0, 0), FRAME | S2_PAGE),
                        ((4, ), FRAME | 0x77d), vtcr=VTCR32)
        self.assertEqual([leaf.gpa for leaf in tables.leaves()], [3 << 30])

    def test_registers(self):
        """Widths that the start level can't have, and other granules."""
        for vtcr in (VTCR_AD | 16 | 1 << 6, VTCR_AD | 20 | 1 << 6,
                     VTCR_AD | 26 | 2 << 6, VTCR_AD | 12 | 2 << 6,
                     VTCR48 | 1 << 14, VTCR48 | 1 << 32):
            with self.assertRaises(TablesError, msg=hex(vtcr)):
                Dump(Tables(vtcr=vtcr).data())

    def test_alignment(self):
        """Two tables side by side begin at a multiple of their size."""
        tables = Tables(vtcr=VTCR40, roots=2)
        tables.registers = (0, ROOT + 4096, VTCR40)
        with self.assertRaises(TablesError):
            Dump(tables.data())


class DumpTest(unittest.TestCase):
    """Files, walks, and what is merged."""

    def test_lookup(self):
        dump = Dump(ept(((0, 1, 2, 3), FRAME | EPT_PAGE)).data())
        gpa = 1 << 30 | 2 << 21 | 3 << 12
        path = dump.lookup(gpa | 0xfff)
        self.assertEqual([(entry.level, entry.index) for entry in path],
                         [(4, 0), (3, 1), (2, 2), (1, 3)])
        self.assertEqual(path[-1].gpa, gpa)
        self.assertEqual(len(dump.lookup(gpa + 4096)), 3)
        with self.assertRaises(TablesError):
            dump.lookup(1 << 48)

    def test_lookup_concatenated(self):
        dump = Dump(stage2(((0x201, 0, 3), FRAME | S2_PAGE), vtcr=VTCR40,
                           roots=2).data())
        path = dump.lookup(0x201 << 30 | 3 << 12)
        self.assertEqual([(entry.level, entry.index) for entry in path],
                         [(1, 1), (2, 0), (3, 3)])

    def test_merge(self):
        page = FRAME | EPT_PAGE
        leaves = ept(((0, 0, 0, 0), page), ((0, 0, 0, 1), page + 0x1000),
                     ((0, 0, 0, 2), page + 0x3000),
                     ((0, 0, 0, 3), page + 0x4100),
                     ((0, 0, 0, 5), page + 0x6100)).leaves()
        self.assertEqual([(first.index, last.index)
                          for first, last in merge(leaves)],
                         [(0, 1), (2, 2), (3, 3), (5, 5)])

    def test_summary(self):
        dump = Dump(ept(((0, 0, 0, 0), FRAME | EPT_PAGE | 0x300),
                        ((0, 0, 0, 9), FRAME | EPT_PAGE | 0x100),
                        ((0, 0, 1), FRAME | EPT_PAGE | 0x80)).data())
        self.assertEqual([(level.level, level.tables, level.leaves,
                           level.young, level.dirty)
                          for level in dump.summary()],
                         [(4, 1, 0, 0, 0), (3, 1, 0, 0, 0), (2, 1, 1, 0, 0),
                          (1, 1, 2, 2, 1)])

    def test_twice(self):
        """A table that two entries point to."""
        tables = ept(((0, 0, 0, 0), FRAME | EPT_PAGE))
        tables.tables[ROOT][1] = tables.tables[ROOT][0]
        with self.assertRaises(TablesError):
            tables.leaves()

    def test_stray(self):
        """A table that nothing points to."""
        tables = ept(((0, 0, 0, 0), FRAME | EPT_PAGE))
        tables.table()
        with self.assertRaises(TablesError):
            tables.leaves()


class ScriptTest(unittest.TestCase):
    """The program."""

    name = 'age-tables'
    command = [SCRIPTS / 'age-tables']

    def run_script(self, data, *options):
        """Exit status, lines of output, lines of errors."""
        with tempfile.TemporaryDirectory() as name:
            path = Path(name) / 'dump'
            path.write_bytes(data)
            done = subprocess.run([*self.command, *options, path],
                                  capture_output=True, text=True, check=False)
        return (done.returncode, done.stdout.splitlines(),
                done.stderr.splitlines())

    def show(self, tables, *options):
        """The lines below the header."""
        status, lines, errors = self.run_script(tables.data(), *options)
        self.assertEqual((status, errors), (0, []))
        return lines[lines.index('') + 2:]

    def fails(self, data, text):
        """An error of one line."""
        status, _, errors = self.run_script(data)
        self.assertEqual((status, len(errors)), (1, 1), errors)
        self.assertIn(text, errors[0])

    def test_runs(self):
        tables = ept(((0, 0, 0, 1), FRAME | EPT_PAGE),
                     ((0, 0, 0, 2), FRAME | EPT_PAGE | 0x1000))
        line, = self.show(tables)
        self.assertEqual(line.split(), [
            '000000000001000-000000000003000', '1', '4K*2',
            '00007f1000000000', 'RWX', 'WB', '--', '00007f1000000837',
            'software:0x800'])
        self.assertEqual(len(self.show(tables, '--leaves')), 2)
        self.assertEqual(len(self.show(tables, '--tables')), 5)
        self.assertEqual(self.show(tables, '--summary')[-1].split(),
                         ['1', '4K', '1', '2', '0', '0'])

    def test_stage2(self):
        tables = stage2(((0, 7), FRAME | 0x77d | 2 << 53))
        line, = self.show(tables)
        self.assertEqual(line.split()[1:7],
                         ['1', '1G', '00007f1000000000', 'R--', 'WB', 'ISH'])
        self.assertIn('A.', line.split())

    def test_header(self):
        _, lines, _ = self.run_script(ept().data())
        self.assertIn('4 levels for 48 bits', lines[0])
        _, lines, _ = self.run_script(stage2(vtcr=VTCR40, roots=2).data())
        self.assertIn('root at level 1 for 40 bits', lines[0])
        self.assertIn('2 tables side by side', lines[0])
        self.assertIn('T0SZ=24 SL0=1', lines[2])

    def test_broken_files(self):
        good = ept(((0, 0, 0, 0), FRAME | EPT_PAGE)).data()
        self.fails(b'', 'no file of age-dump-tables')
        self.fails(b'AGETABLF' + good[8:], 'no file of age-dump-tables')
        self.fails(good[:40], 'ends within its header')
        self.fails(good[:8] + b'\2' + good[9:], 'version 2')
        self.fails(good[:-1], 'is cut off')
        self.fails(good + b'\0', '1 bytes behind')
        self.fails(good[:16] + bytes(8) + good[24:], 'neither')

    def test_missing_tables(self):
        tables = ept(((0, 0, 0, 0), FRAME | EPT_PAGE))
        del tables.tables[ROOT + 3 * 4096]
        self.fails(tables.data(), 'table of level 1 for 0x0')
        del tables.tables[ROOT]
        self.fails(tables.data(), 'table 0 of the root')

    def test_no_file(self):
        done = subprocess.run([*self.command, '/nonexistent'],
                              capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stderr),
                         (1, f'{self.name}: /nonexistent: No such file or '
                             'directory\n'))


class ToolTest(ScriptTest):
    """The same as a part of qemu-age."""

    name = 'qemu-age'
    command = [SCRIPTS / 'qemu-age', 'tables']


if __name__ == '__main__':
    unittest.main()
