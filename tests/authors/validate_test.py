#!/usr/bin/env python3
"""What `berthctl plugin validate` finds in plugins that are wrong in one thing each, and that it lets others go on meanwhile.

Usage: validate_test.py BERTHCTL TEST-PLUGINS PLUGINS
"""
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import xml.etree.ElementTree

BERTHCTL = sys.argv[1]
BAD = pathlib.Path(sys.argv[2])
PLUGINS = pathlib.Path(sys.argv[3])
CTL = BAD / "ctl"
LINE = re.compile(r"^(ok|FAILED|CRASHED|HUNG|skipped) +(?:\S+ )?([A-Z]\w+\.\w+) \([0-9.]+ s\)(?:: (.*))?$")


def validate(file, *words, timeout=120):
    """Exit code, {case: (verdict, reason)} and all that was printed."""
    done = subprocess.run([BERTHCTL, "plugin", "validate", str(file), "--seed", "7", *words], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=timeout, check=False)
    cases = {}
    for line in done.stdout.splitlines():
        match = LINE.match(line)
        if match:
            cases[match.group(2)] = (match.group(1), match.group(3) or "")
    return done.returncode, cases, done.stdout


def children_of(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except OSError:
        return []


class Validate(unittest.TestCase):
    def bad(self, file, case, verdict, reason, *words):
        code, cases, output = validate(file, "--filter", case, *words)
        self.assertEqual(code, 1, output)
        self.assertEqual(cases[case][0], verdict, output)
        self.assertIn(reason, cases[case][1])
        return cases

    def test_a_right_plugin_passes_every_level(self):
        for file in (CTL / "behaves.so", BAD / "echo-c/echo-c.so"):
            code, cases, output = validate(file)
            self.assertEqual(code, 0, output)
            # Where there are no streams, or no descriptors, something cannot be asked.
            skipped = {case for case, (verdict, _) in cases.items() if verdict == "skipped" and case.startswith("Service.")}
            self.assertLessEqual(len(skipped), 4, output)
            self.assertEqual({verdict for case, (verdict, _) in cases.items() if case not in skipped}, {"ok"}, output)
            self.assertEqual(len(cases), 26, output)

    def test_a_configuration_that_is_wrong_is_told_once(self):
        for config, reason in (("/nowhere/config.toml", "No such file"), (__file__, __file__)):
            done = subprocess.run([BERTHCTL, "plugin", "validate", str(CTL / "behaves.so"), "--config", config], capture_output=True, text=True,
                                  timeout=60, check=False)
            self.assertEqual((done.returncode, done.stdout), (1, ""), done)
            self.assertIn(reason, done.stderr)

    def test_a_value_that_is_none_is_refused_with_those_there_are(self):
        for words, reason in ((("--timeout", "0"), "Value 0 not in range 1 to 86400"), (("--level", "deep"), "deep not in {loads,serves,hostile}")):
            code, cases, output = validate(CTL / "behaves.so", *words)
            self.assertEqual((code, cases), (2, {}))
            self.assertIn(reason, output)

    def test_a_crash_costs_its_own_case_alone(self):
        code, cases, output = validate(BAD / "bad/crashes-in-call.so", "--level", "serves")
        self.assertEqual(code, 1)
        self.assertEqual(cases["Loads.StartsAndStops"][0], "ok", output)
        self.assertEqual(cases["Serves.EmptyRequests"],
                         ("CRASHED", "SIGSEGV during: call berth.test.v1.crashes_in_call/Do with 0 bytes"))
        self.assertEqual(cases["Serves.TheSameAgain"][0], "CRASHED")
        self.assertNotIn("Hostile.CallsAfterStop", cases)

    def test_a_crash_in_probe_is_found_and_the_rest_is_not_tried(self):
        code, cases, output = validate(BAD / "bad/crashes-in-probe.so")
        self.assertEqual(code, 1)
        self.assertEqual(cases["Loads.StartsAndStops"], ("CRASHED", "SIGSEGV during: probe"))
        self.assertEqual(cases["Serves.EmptyRequests"], ("skipped", "it does not load"), output)

    def test_a_hang_ends_by_the_timeout_and_names_the_call(self):
        self.bad(CTL / "hangs.so", "Hostile.AHostOfALaterMinor", "HUNG",
                 "it did not end in 2 s during: call berth.test.v1.Misbehaves/Do with 0 bytes", "--timeout", "2")
        self.bad(CTL / "sleeps-in-stop.so", "Loads.StartsAndStops", "HUNG", "during: stop", "--timeout", "2")

    def test_a_handler_that_goes_on_after_cancel_is_named(self):
        self.bad(CTL / "drops.so", "Serves.EmptyRequests", "FAILED", "the handler goes on 5 s after the call was cancelled")

    def test_a_signal_ends_the_case_and_leaves_nothing(self):
        with tempfile.TemporaryDirectory() as folder:
            for stop in (signal.SIGINT, signal.SIGTERM):
                process = subprocess.Popen([BERTHCTL, "plugin", "validate", str(CTL / "sleeps-in-stop.so"), "--filter", "Loads.StartsAndStops"],
                                           stdout=subprocess.PIPE, text=True, env=dict(os.environ, TMPDIR=folder),
                                           preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
                end = time.monotonic() + 20
                while not (children := children_of(process.pid)) and time.monotonic() < end:
                    time.sleep(0.01)
                time.sleep(0.3)
                process.send_signal(stop)
                output = process.communicate(timeout=20)[0]
                self.assertEqual(process.returncode, -stop, output)
                self.assertIn("interrupted", output)
                self.assertEqual([child for child in children if os.path.exists(f"/proc/{child}")], [])
                self.assertEqual(os.listdir(folder), [])

    def test_an_exit_is_no_success(self):
        self.bad(CTL / "exits.so", "Serves.EmptyRequests", "CRASHED", "the process ended by itself during: call")

    def test_wrong_answers_are_found(self):
        self.bad(CTL / "no-code.so", "Serves.EmptyRequests", "FAILED", "ended with 4711, which is no canonical code")
        self.bad(CTL / "no-reason.so", "Serves.EmptyRequests", "FAILED", "fails with NOT_FOUND and does not say why")
        self.bad(BAD / "bad/throws-in-call.so", "Serves.EmptyRequests", "FAILED", "INTERNAL: exception: the cupboard is bare")

    def test_memory_that_is_lost_or_gone_is_found(self):
        self.bad(CTL / "leaks.so", "Hostile.MessagesAreGivenBack", "FAILED", "keeps memory of the host")
        self.bad(CTL / "loses.so", "Hostile.AllocationsFailInCalls", "FAILED", "OK with nothing in it when memory is gone")

    def test_entries_that_belie_their_manifests_are_found(self):
        for name, reason in (("lying-major", "abi.major is 7"), ("other-id", "somebody-else"),
                             ("other-service", "serves berth.test.v1.another"), ("no-manifest", "it has no manifest"),
                             ("misspelt", 'unknown key "clientfacing"'), ("new-minor", "at least ABI 0.900")):
            self.bad(BAD / f"bad/{name}.so", "File.EntryIsWhatTheManifestSays", "FAILED", reason)
        self.bad(BAD / "bad/throws-in-init.so", "Loads.StartsAndStops", "FAILED", "INTERNAL: exception: the cupboard is bare")

    def test_junit_has_every_case_with_its_verdict(self):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "out.xml"
            validate(BAD / "bad/crashes-in-call.so", "--level", "serves", "--junit", str(file))
            suite = xml.etree.ElementTree.parse(file).getroot()
        self.assertEqual((suite.get("tests"), suite.get("errors"), suite.get("failures")), ("14", "6", "0"))
        errors = [case.get("name") for case in suite if case.find("error") is not None]
        self.assertIn("Serves.EmptyRequests", errors)
        self.assertIn("SIGSEGV", suite.find("testcase/error").get("message"))

    def test_in_process_and_filters(self):
        code, _, output = validate(CTL / "behaves.so", "--in-process", "--filter", "Serves.*:Loads.*:-*Malformed*")
        self.assertEqual(code, 0, output)
        self.assertIn("[  PASSED  ] 5 tests.", output)
        code, _, output = validate(CTL / "no-code.so", "--in-process", "--filter", "Serves.EmptyRequests")
        self.assertEqual(code, 1, output)
        code, _, output = validate(CTL / "behaves.so", "--filter", "Nothing.*")
        self.assertEqual(code, 1)
        self.assertIn("no case", output)

    def test_the_seed_decides_what_is_random(self):
        def asked():
            output = validate(CTL / "behaves.so", "--verbose", "--filter", "Hostile.AnyBytes")[2]
            return [line for line in output.splitlines() if "[ doing" in line and " call " in line]
        first = asked()
        self.assertGreater(len(first), 100)
        self.assertEqual(first, asked())

    @unittest.skipUnless(os.geteuid() == 0, "the kit of snapshotters mounts")
    def test_the_tutorials_snapshotter_loses_what_its_page_says(self):
        page = (pathlib.Path(__file__).parents[2] / "docs/writing-plugins.md").read_text(encoding="utf-8")
        named = set(re.findall(r"`(\w+)`", re.search(r"the kit names each \((.*)\)", page).group(1)))
        self.assertEqual(len(named), 4)
        _, cases, output = validate(BAD / "snapshot-plain/snapshot-plain.so", "--filter", ":".join(f"Snapshotter.{case}" for case in named))
        self.assertEqual({case: verdict for case, (verdict, _) in cases.items()}, {f"Snapshotter.{case}": "FAILED" for case in named}, output)

    def test_stand_ins_have_the_ids_that_are_asked_for(self):
        services, diff = PLUGINS / "berth-plugin-services.so", "io.containerd.grpc.v1.diff"
        starts = ("--filter", "Loads.StartsAndStops", "--plugin", diff)
        for words, reason in (((), 'name a stand-in with --peer differs=ID'),
                              (("--peer", "differs=other"), "of type io.containerd.differ.v1 there are other")):
            code, cases, output = validate(services, *starts, *words)
            self.assertEqual((code, cases["Loads.StartsAndStops"][0]), (1, "FAILED"), output)
            self.assertIn(reason, cases["Loads.StartsAndStops"][1])
        # What is printed to do it again has what decided the case.
        again = re.search(r"^again: +berthctl plugin validate (.*)$", output, re.M).group(1)
        self.assertIn("--peer differs=other", again)
        for place in ((), ("--in-process",)):
            code, _, output = validate(services, *starts, "--peer", "differs=other", "--peer", "differs=walking", *place)
            self.assertEqual(code, 0, output)

    def test_stand_ins_that_nobody_asked_for_are_refused(self):
        for peer, reason in (("walking", "write NAME=ID"), ("=walking", "write NAME=ID"), ("differs=", "write NAME=ID"),
                             ("differ=walking", 'requires "differ"; there is metadata, events, differs, exchange')):
            code, cases, output = validate(PLUGINS / "berth-plugin-services.so", "--peer", peer)
            self.assertEqual((code, cases), (1, {}), output)
            self.assertIn(f"bind a stand-in by --peer {peer}: ", output)
            self.assertIn(reason, output)
        code, _, output = validate(PLUGINS / "berth-plugin-services.so", "--peer", "metadata=a", "--peer", "metadata=b")
        self.assertEqual(code, 1)
        self.assertIn('"metadata" takes one plugin, and there is a already', output)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=0)
