#!/usr/bin/python3
"""Tests of the harness itself: that it reads scenarios, hides only what may differ, and sees differences."""
import os
import tempfile
import unittest
from unittest import mock

import harness
import scenario
from normalise import error_class, normalise


class Scenarios(unittest.TestCase):
    def test_reads_commands_and_expectations(self):
        read = scenario.parse("x", "@title t\n# remark\n$ ctr a \\\n  b\n> one\n< two\n! ctr c\n>! three\n@restart kill\n")
        self.assertEqual(read.title, "t")
        self.assertEqual([(s.kind, s.command) for s in read.steps],
                         [("$", "ctr a b"), ("!", "ctr c"), ("@", "kill")])
        self.assertEqual((read.steps[0].present, read.steps[0].absent), (["one"], ["two"]))
        self.assertEqual(read.steps[1].error, ["three"])

    def test_refuses_what_it_does_not_know(self):
        for text in ("ctr a", "@nonsense", "> expectation first", "@restart gently"):
            with self.assertRaises(scenario.Malformed, msg=text):
                scenario.parse("x", text)

    def test_gives_a_slow_machine_more_time(self):
        text = '@berthd-config action_timeout = "4s"\n% timeout 5 ctr a --timeout 2; sleep 0.5; ./behind 0.03 x; ctr sleeper 3 f1.5'
        self.assertEqual(scenario.stretch(text, 1), text)
        self.assertEqual(scenario.stretch(text, 10),
                         '@berthd-config action_timeout = "40s"\n% timeout 50 ctr a --timeout 20; sleep 5; ./behind 0.3 x; ctr sleeper 3 f1.5')


class Normalise(unittest.TestCase):
    def test_hides_times_pids_and_places(self):
        self.assertEqual(normalise("t1    4711    RUNNING\n/tmp/x/root/f 2026-11-24T21:00:00.5Z 3 seconds",
                                   {"/tmp/x": "DIR", "/tmp/x/root": "ROOT"}),
                         "t1 PID RUNNING\nROOT/f TIME AGE")

    def test_keeps_everything_else(self):
        text = "sha256:2cf24dba5fb0a30e 5 4711 complete (3/3) 1012.6 KiB labels=a"
        self.assertEqual(normalise(text, {}), text)

    def test_sorts_labels(self):
        self.assertEqual(normalise("x b=2,a=1 -", {}), "x a=1,b=2 -")

    def test_names_the_class_of_an_error(self):
        self.assertEqual(error_class('ctr: image "x": not found\n'), "not found")
        self.assertEqual(error_class("rpc error: code = Unavailable desc = nobody home"), "Unavailable")
        self.assertEqual(error_class("ctr: exit status 1"), "other")


class Compare(unittest.TestCase):
    def differences(self, kind, ours, theirs):
        step = scenario.Step(1, kind, "ctr x")
        return harness.compare("berthd", "containerd", [(step, *ours)], [(step, *theirs)])

    def test_sees_output_exit_code_and_kind_of_error(self):
        self.assertEqual(self.differences("$", (0, "a", ""), (0, "a", "other words")), [])
        self.assertIn("output differs", self.differences("$", (0, "a", ""), (0, "b", ""))[0])
        self.assertIn("exit code", self.differences("~", (1, "", "x"), (0, "", ""))[0])
        self.assertIn("kind of error", self.differences("!", (1, "", "x: not found"), (1, "", "y: already exists"))[0])

    def test_a_difference_that_another_run_of_the_peer_does_not_show_is_its_noise(self):
        step = scenario.parse("x", "$ echo\n").steps[0]
        ours, lost = [(step, 0, "one\n", "")], [(step, 0, "", "")]

        def peer(*transcripts):
            runs = [mock.Mock(**{"go.return_value": one}) for one in transcripts]
            return mock.Mock(side_effect=runs)

        with mock.patch("builtins.print"):
            harness.compare_or_again("a", "b", ours, ours, peer())  # no other run
            harness.compare_or_again("a", "b", ours, lost, peer(ours))
            with self.assertRaises(harness.Failed):
                harness.compare_or_again("a", "b", lost, ours, peer(ours))

    def test_does_not_compare_the_output_of_preparations(self):
        self.assertEqual(self.differences("%", (0, "a", ""), (0, "b", "")), [])


class Folders(unittest.TestCase):
    def test_a_run_that_cannot_be_prepared_leaves_none(self):
        with tempfile.TemporaryDirectory() as folder, mock.patch.object(
                tempfile, "mkdtemp", side_effect=lambda **_: os.mkdir(folder + "/run") or folder + "/run"):
            with self.assertRaises(FileNotFoundError):  # there is no berthctl beside this berthd to ask for its plugins
                harness.Run(scenario.parse("x", "@title t\n"), "", "berthd", folder + "/berthd", "/usr/bin/ctr", (), False, "/bin/true", processes=True)
            self.assertEqual(os.listdir(folder), [])
            with self.assertRaises(TypeError):
                harness.Run(scenario.parse("x", "@title t\n"), "", "berthd", None, "/usr/bin/ctr", (), False, "/bin/true")
            self.assertEqual(os.listdir(folder), [])


if __name__ == "__main__":
    unittest.main()
