#!/usr/bin/python3
"""Packages of an older commit of this repository, built by its own scripts/package.

    from_commit.py COMMIT

They are kept in build/from/COMMIT and found there the next time. The build takes a minute where the compiler cache knows the commit, and about a
quarter of an hour where it does not. Prints the folder of the packages.
"""
import glob
import os
import shutil
import subprocess
import sys

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))


def packages_of(name):
    """The folder of a commit's packages."""
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--verify", name + "^{commit}"], capture_output=True, text=True, check=True).stdout.strip()
    folder = os.path.join(ROOT, "build", "from", commit[:12])
    packages = os.path.join(folder, "packages")
    if not os.path.isdir(packages):
        source = os.path.join(folder, "source")
        shutil.rmtree(source, ignore_errors=True)
        os.makedirs(source)
        archive = subprocess.run(["git", "-C", ROOT, "archive", commit], capture_output=True, check=True)
        subprocess.run(["tar", "-x", "-C", source], input=archive.stdout, check=True)
        done = subprocess.run(["./scripts/package"], cwd=source, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError("scripts/package of %s ended with %d:\n%s" % (name, done.returncode, done.stdout[-4000:]))
        os.makedirs(packages + ".new", exist_ok=True)
        for path in glob.glob(source + "/build/package/packages/*.deb"):
            shutil.copy(path, packages + ".new")
        os.rename(packages + ".new", packages)
        shutil.rmtree(source)
    return packages


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print(packages_of(sys.argv[1]))
