#!/usr/bin/env python3
"""Writes ID.json, a specification whose root file system is ./rootfs: spec.py [--hooks PROGRAM] [--share-pids] ID COMMAND...

PROGRAM is run as each of the hooks poststart and poststop, with that word."""

import argparse
import json
import os
import subprocess

parser = argparse.ArgumentParser()
parser.add_argument("--hooks")
parser.add_argument("--share-pids", action="store_true")
parser.add_argument("id")
parser.add_argument("command", nargs=argparse.REMAINDER)
arguments = parser.parse_args()

spec = json.loads(subprocess.run(["ctr", "oci", "spec"], capture_output=True, check=True).stdout)
spec["root"]["path"] = os.path.abspath("rootfs")
spec["process"]["args"] = arguments.command
spec["process"]["env"] = ["PATH=/bin"]
spec["linux"]["cgroupsPath"] = "/%s/%s" % (os.environ["CONTAINERD_NAMESPACE"], arguments.id)
if arguments.hooks:
    spec["hooks"] = {moment: [{"path": arguments.hooks, "args": ["hook", moment]}] for moment in ("poststart", "poststop")}
if arguments.share_pids:
    spec["linux"]["namespaces"] = [one for one in spec["linux"]["namespaces"] if one["type"] != "pid"]
with open(arguments.id + ".json", "w") as file:
    json.dump(spec, file)
