#!/usr/bin/env python3
"""The runner of pages: what it accepts, and that it fails where a page is wrong."""
import os
import pathlib
import tempfile
import time
import unittest

import page


class Page(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="berth-page-")
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        self.folder = self.root / "work"
        self.folder.mkdir()

    def follow(self, text, timeout=20):
        path = self.root / "page.md"
        path.write_text(text, encoding="utf-8")
        return page.follow(str(path), self.folder, dict(os.environ), timeout)

    def refuse(self, text, why, **options):
        with self.assertRaisesRegex(page.Wrong, why):
            self.follow(text, **options)

    def test_files_are_written_and_commands_run_in_one_terminal(self):
        text = ("```sh\nmkdir a\ncd a\nexport X='1 2'\n```\n\n<!-- file: a/b.txt -->\n```toml\nk = 1\n```\n\n"
                "```sh\ncat b.txt\necho \"$X\"\necho error >&2\n```\n```text\nk = 1\n1 2\nerror\n```\n")
        self.assertEqual(self.follow(text), (1, 2))

    def test_what_differs_is_wrong(self):
        for shown in ("one\n", "one\nthree\n", "two\none\n", "one\ntwo\nthree\n", "on\ntwo\n", ""):
            self.refuse(f"```sh\necho one\necho two\n```\n```text\n{shown}```\n", "page.md:1: printed\none\ntwo\n")
        self.refuse("```sh\necho one\n```\n", "page.md:1: printed")

    def test_dots_stand_for_text_and_for_lines(self):
        say = "```sh\nprintf 'a 17 b\\nx\\ny\\nend\\n'\n```\n```text\n%s```\n"
        for shown in ("a … b\n…\nend\n", "…\na … b\nx\ny\nend\n", "a…\n…\n", "…\n"):
            self.follow(say % shown)
        for shown in ("a …\nend\n", "…\nother\n", "a … c\n…\n"):
            self.refuse(say % shown, "and the page shows")

    def test_a_command_that_fails_is_wrong(self):
        self.refuse("text\n\n```sh\nfalse\necho not reached\n```\n", "page.md:3: ended with 1")
        self.refuse("```sh\nsleep 30\n```\n", "did not end in time", timeout=0.3)

    def test_no_block_is_forgotten(self):
        self.refuse("```toml\nk = 1\n```\n", "page.md:1: a block that is neither run nor used")
        self.refuse("```sh\ntrue\n```\n\n```text\nprinted?\n```\n", "page.md:5: a block that is neither")
        self.refuse("<!-- fil: x -->\n```sh\ntrue\n```\n", "is not what a block can be")
        self.refuse("<!-- not run: -->\n```sh\ntrue\n```\n", "is not what a block can be")
        self.refuse("```sh\ntrue\n", "has no end")
        self.refuse("<!-- file: no/x -->\n```toml\n```\n", "folder of no/x has not been made")

    def test_what_is_not_run_is_not_run(self):
        self.assertEqual(self.follow("<!-- not run: it would fail -->\n```sh\nfalse\n```\n\n<!-- a/b.cc -->\n```cpp\nx\n```\n"), (0, 0))

    def test_what_was_left_in_the_background_ends(self):
        for ending in ("", "false\n"):
            try:
                self.follow(f"```sh\nsleep 300 >/dev/null 2>&1 &\necho $! >pid\n{ending}```\n")
            except page.Wrong:
                pass
            pid = int((self.folder / "pid").read_text(encoding="utf-8"))
            end = time.monotonic() + 5
            while os.path.exists(f"/proc/{pid}") and time.monotonic() < end:
                time.sleep(0.02)
            self.assertFalse(os.path.exists(f"/proc/{pid}"))
            self.assertEqual(sorted(path.name for path in self.root.iterdir()), ["page.md", "work"])


if __name__ == "__main__":
    unittest.main()
