#!/usr/bin/env python3
"""Changes of the real header, each held against the real records: which pass as a new minor, and which check finds the others.

Usage: minors_test.py CC HEADER RECORDS. Each test edits a copy of the header, and runs check_layout.py and check_types.py on it as
CTest does.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

import minors
import record_layout

HERE = os.path.dirname(os.path.abspath(__file__))
HAS_ABIDIFF = shutil.which("abidiff") is not None


class Minors(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="berth-minors-")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.records = os.path.join(self.folder, "records")
        shutil.copytree(RECORDS, self.records)
        with open(HEADER, encoding="utf-8") as file:
            self.header = file.read()

    def edit(self, before, after, header=None):
        text = header or self.header
        self.assertEqual(text.count(before), 1, before)
        return text.replace(before, after)

    def next_minor(self, header):
        return minors.with_minor(header, minors.minor_of(self.header) + 1)

    def write(self, header):
        path = os.path.join(self.folder, "berth", "abi.h")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(header)
        return path

    def run_check(self, *command):
        done = subprocess.run([sys.executable, "-B", *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        self.assertIn(done.returncode, (0, 1), done.stdout)
        return done.returncode == 0, done.stdout

    def layout(self, header, *options):
        """(passed, output) of the layout check."""
        path = self.write(header)
        source, program = os.path.join(self.folder, "print.c"), os.path.join(self.folder, "print")
        subprocess.run([sys.executable, "-B", os.path.join(HERE, "record_layout.py"), path, source], check=True)
        subprocess.run([CC, "-std=c99", f"-I{self.folder}", source, "-o", program], check=True)
        return self.run_check(os.path.join(HERE, "check_layout.py"), program, self.records, "--minor", str(minors.minor_of(header)), *options)

    def types(self, header, *options):
        """(passed, output) of abidiff."""
        if not HAS_ABIDIFF:
            self.skipTest("abidiff is missing")
        return self.run_check(os.path.join(HERE, "check_types.py"), CC, self.write(header), self.records, *options)

    def renew(self, header):
        self.layout(header, "--renew")
        if HAS_ABIDIFF:
            self.types(header, "--renew")

    def expect(self, header, layout, types):
        """Both checks; each a text that it must say, or None when it must pass."""
        for check, said in ((self.layout, layout), (self.types, types)):
            passed, output = check(header)
            self.assertEqual(passed, said is None, output)
            self.assertIn(said or "", output)

    def test_today_is_as_recorded(self):
        self.expect(self.header, None, None)

    def test_a_member_at_the_end_is_a_minor_that_wants_its_record(self):
        grown = minors.newer(self.header)
        self.expect(grown, "there is no record of the layout", "there is no record of the types")
        self.renew(grown)
        self.expect(grown, None, None)

    def test_a_slot_and_a_struct_more_are_a_minor(self):
        grown = self.edit("} berth_host;", "  int32_t (*newest)(berth_newest *more);\n} berth_host;")
        grown = self.next_minor(self.edit("/* What the host offers.", "typedef struct berth_newest {\n  uint32_t struct_size;\n} berth_newest;\n\n"
                                          "/* What the host offers.", grown))
        self.renew(grown)
        self.expect(grown, None, None)

    def test_a_member_at_the_end_needs_a_new_minor(self):
        self.expect(minors.with_minor(minors.newer(self.header), minors.minor_of(self.header)),
                    "a released minor is closed, raise BERTH_ABI_MINOR", "'uint64_t newest'")

    def test_a_member_in_the_middle_breaks(self):
        broken = self.next_minor(self.edit("  berth_target *(*connect)", "  void (*between)(void);\n  berth_target *(*connect)"))
        self.renew(broken)
        self.expect(broken, 'berth_host: was "berth_host.connect', "berth_host has not only grown at its end")

    def test_members_that_change_places_break(self):
        broken = self.edit("  int32_t pid; ", "  int32_t later; ")
        broken = self.edit("  uint32_t uid; ", "  int32_t pid; ", broken)
        broken = self.next_minor(self.edit("  int32_t later; ", "  uint32_t uid; ", broken))
        self.renew(broken)
        self.expect(broken, "berth_peer: was", "berth_peer has not only grown at its end")

    def test_a_frozen_struct_must_not_grow(self):
        broken = self.next_minor(self.edit("} berth_status;", "  uint64_t more;\n} berth_status;"))
        self.renew(broken)
        self.expect(broken, "berth_status is frozen", "'uint64_t more'")

    def test_a_slot_of_another_signature_breaks(self):
        broken = self.next_minor(self.edit("uint32_t (*bound)", "uint64_t (*bound)"))
        self.renew(broken)
        self.expect(broken, "berth_host.bound", "berth_host")

    def test_a_callback_of_another_signature_is_seen_by_abidiff_alone(self):
        broken = self.next_minor(self.edit("typedef void (*berth_callback)(void *context);",
                                           "typedef void (*berth_callback)(void *context, int32_t outcome);"))
        self.renew(broken)
        self.expect(broken, None, "berth_callback")

    def test_a_constant_of_another_value_is_seen_by_the_layout_alone(self):
        broken = self.next_minor(self.edit("#define BERTH_REFUSED 4 ", "#define BERTH_REFUSED 5 "))
        self.renew(broken)
        self.expect(broken, "BERTH_REFUSED was 4 and is 5", None)

    def test_the_older_header_is_the_one_that_was(self):
        with open(os.path.join(RECORDS, f"0.{minors.minor_of(self.header)}.txt"), encoding="utf-8") as file:
            record = file.read()
        self.assertEqual(minors.older(minors.newer(self.header), record, minors.minor_of(self.header)).split(), self.header_uncommented())

    def header_uncommented(self):
        """Cutting takes what stands behind the last member, its comment too, where something has been added."""
        text = self.header
        for struct, _ in record_layout.structs(text):
            if struct in minors.FROZEN:
                continue
            begin, end = minors.body(text, struct)
            at = minors.without_comments(text).rindex(";", begin, end) + 1
            text = text[:at] + "\n" + text[end:]
        return text.split()


if __name__ == "__main__":
    CC, HEADER, RECORDS = sys.argv[1:4]
    unittest.main(argv=sys.argv[:1])
