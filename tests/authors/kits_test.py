#!/usr/bin/env python3
"""What the conformance kits of `berthctl plugin validate` find in plugins that are wrong in one thing each, and that they find nothing
in the same plugins without it.

Usage: kits_test.py BERTHCTL TEST-PLUGINS SHIM
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

BERTHCTL = sys.argv[1]
CTL = pathlib.Path(sys.argv[2]) / "ctl"
SHIM = sys.argv[3]
LINE = re.compile(r"^(ok|FAILED|CRASHED|HUNG|skipped) +(?:\S+ )?([A-Z]\w+\.\w+) \([0-9.]+ s\)(?:: (.*))?$")
TYPES = {"content": "io.containerd.content.v1", "differ": "io.containerd.differ.v1", "snapshotter": "io.containerd.snapshotter.v1"}
# By type: the mistake, and the cases that find it.
MISTAKES = {
    "content": {
        "unchecked": ["Content.WrongDigestsAndSizesAreRefused", "Content.DamagedIngestsAreNotCommitted"],
        "appends-anywhere": ["Content.OffsetsMustFit"],
        "begins-anew": ["Content.ResumesWhereAWriterWent", "Content.EverythingIsThereAfterARestart"],
        "reads-on": ["Content.ReadsFromAnyOffset"],
        "lists-all": ["Content.ListsAllAndFilters"],
        "acknowledges-early": ["Content.LifeOfABlob", "ContentCrash.WhatWasStoredIsWhole"],
    },
    "differ": {
        "naive": ["Differ.NothingEscapes", "Differ.WhiteoutsRemove", "Differ.MalformedLayersAreRefused", "Differ.EntriesOfAllKinds"],
        "takes-anything": ["Differ.MediaTypesThatItDoesNotKnow"],
        "answers-the-blob": ["Differ.UnpacksWhatClientsSend", "Differ.ALayerMadeGivesTheTree"],
        "leaves-mounts": ["Differ.OntoWhatOtherLayersMade"],
        "leaves-ingests": ["Differ.AFullStoreIsToldAndLeavesNothing"],
        "loses-removals": ["Differ.ALayerMadeGivesTheTree"],
    },
    "snapshotter": {
        "gives-keys-twice": ["Snapshotter.Refusals"],
        "writable-views": ["Snapshotter.ViewsAreReadOnly"],
        "drops-labels": ["Snapshotter.LifeOfASnapshot"],
        "acknowledges-early": ["SnapshotterCrash.WhatWasCommittedIsWhole"],
        "own-modes": ["Snapshotter.KeepsOwnersModesTimesAndAttributes"],
    },
}

# Shims that are a sound one, but for what a few lines of shell change.
SHIMS = {
    "serves-nowhere": ('case "$*" in *" start") echo unix:///nowhere/at.all; exit 0;; esac', "Shim.StartsAndGoes"),
    "tells-nobody": ("export TTRPC_ADDRESS=/nowhere/at.all", "Shim.RunsAProcessToItsEnd"),
    "forgets-the-code": (f'case "$*" in *" delete") {SHIM} "$@" >/dev/null; exit 0;; esac', "Shim.DeleteCleansUpAfterAKilledShim"),
}


def validate(kind, mistake, cases):
    """{case: (verdict, reason)} and all that was printed."""
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as config:
        config.write(f'version = 3\n[plugins."{TYPES[kind]}.wrong"]\nmistake = "{mistake}"\n')
        config.flush()
        done = subprocess.run([BERTHCTL, "plugin", "validate", str(CTL / f"wrong-{kind}.so"), "--seed", "7", "--config", config.name,
                               "--filter", ":".join(cases)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=200,
                              check=False)
    found = {}
    for line in done.stdout.splitlines():
        match = LINE.match(line)
        if match:
            found[match.group(2)] = (match.group(1), match.group(3) or "")
    return found, done.stdout


class Kits(unittest.TestCase):
    def finds(self, kind):
        for mistake, cases in MISTAKES[kind].items():
            with self.subTest(mistake=mistake):
                found, output = validate(kind, mistake, cases)
                self.assertEqual({case: found.get(case, ("none", ""))[0] for case in cases}, dict.fromkeys(cases, "FAILED"), output)
        # The same cases, without a mistake.
        cases = sorted({case for some in MISTAKES[kind].values() for case in some})
        found, output = validate(kind, "none", cases)
        self.assertEqual({case: found.get(case, ("none", ""))[0] for case in cases}, dict.fromkeys(cases, "ok"), output)

    def test_content_stores_that_are_wrong(self):
        self.finds("content")

    @unittest.skipIf(os.geteuid() != 0, "unpacking needs root")
    def test_differs_that_are_wrong(self):
        self.finds("differ")

    @unittest.skipIf(os.geteuid() != 0, "mounting needs root")
    def test_snapshotters_that_are_wrong(self):
        self.finds("snapshotter")

    @unittest.skipIf(os.geteuid() != 0, "containers need root")
    def test_shims_that_are_wrong(self):
        for mistake, (lines, case) in SHIMS.items():
            with self.subTest(mistake=mistake), tempfile.TemporaryDirectory() as folder:
                shim = pathlib.Path(folder) / "containerd-shim-wrong-v1"
                shim.write_text(f'#!/bin/sh\n{lines}\nexec {SHIM} "$@"\n', encoding="utf-8")
                shim.chmod(0o755)
                done = subprocess.run([BERTHCTL, "shim", "validate", str(shim), "--filter", case], stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT, text=True, timeout=100, check=False)
                self.assertEqual(done.returncode, 1, done.stdout)
                self.assertIn(f"FAILED   {case}", done.stdout)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=0)
