#!/usr/bin/env python3
"""The comparison itself: which changes of a layout are seen, and which are none."""
import unittest

from check_layout import broken

RECORD = """entry berth_plugin_entry_v0
BERTH_OK = 0
berth_str size 16
berth_str.data offset 0 size 8
berth_str.size offset 8 size 4
berth_str.spare offset 12 size 4
berth_host size 16
berth_host.struct_size offset 0 size 4
berth_host.log offset 8 size 8
"""


class Broken(unittest.TestCase):
    def test_nothing_changed(self):
        self.assertEqual(broken(RECORD, RECORD), [])

    def test_growing_at_the_end_is_allowed(self):
        today = RECORD.replace("berth_host size 16", "berth_host size 24") + "berth_host.more offset 16 size 8\n"
        self.assertEqual(broken(RECORD, today), [])

    def test_a_member_in_what_was_padding_is_seen(self):
        record = RECORD + "berth_odd size 16\nberth_odd.struct_size offset 0 size 8\nberth_odd.x offset 8 size 4\n"
        self.assertIn("padding", broken(record, record + "berth_odd.y offset 12 size 4\n")[0])

    def test_a_new_struct_is_allowed(self):
        self.assertEqual(broken(RECORD, RECORD + "berth_new size 4\nberth_new.x offset 0 size 4\n"), [])

    def test_inserting_is_seen(self):
        today = RECORD.replace("berth_host.log offset 8", "berth_host.more offset 8 size 8\nberth_host.log offset 16")
        self.assertIn("berth_host.log", broken(RECORD, today)[0])

    def test_removing_is_seen(self):
        today = RECORD.replace("berth_host.log offset 8 size 8\n", "")
        self.assertIn("gone", broken(RECORD, today)[0])

    def test_a_frozen_struct_must_not_grow(self):
        today = RECORD.replace("berth_str size 16", "berth_str size 24").replace(
            "berth_str.spare offset 12 size 4", "berth_str.spare offset 12 size 4\nberth_str.more offset 16 size 8")
        self.assertIn("frozen", broken(RECORD, today)[0])

    def test_constants_keep_their_values(self):
        self.assertIn("BERTH_OK", broken(RECORD, RECORD.replace("BERTH_OK = 0", "BERTH_OK = 1"))[0])


if __name__ == "__main__":
    unittest.main()
