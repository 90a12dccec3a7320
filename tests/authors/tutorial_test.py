#!/usr/bin/env python3
"""Does what docs/writing-plugins.md says, with what is installed and in an empty folder.

Usage: tutorial_test.py PREFIX PAGE. Exit code 77: something that the page uses is missing. The environment stands for an installation
in /usr: programs, CMake packages, and what debhelper looks for, are found in the prefix.
"""
import os
import pathlib
import shutil
import sys
import tempfile

import page

NEEDS = ("bash", "cmake", "ctr", "dh", "dpkg-deb", "make", "protoc")


def environment(prefix, folder):
    found = {
        "PATH": f"{prefix}/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "CMAKE_PREFIX_PATH": str(prefix),
        "PERL5LIB": f"{prefix}/share/perl5",
        "BERTH_PLUGIN_RELATIONS": f"{prefix}/libexec/berth/berth-plugin-relations",
    }
    if shutil.which("ccache"):  # a second run of the test compiles nothing
        found.update(CMAKE_C_COMPILER_LAUNCHER="ccache", CMAKE_CXX_COMPILER_LAUNCHER="ccache", CCACHE_BASEDIR=str(folder),
                     CCACHE_NOHASHDIR="1", CCACHE_DIR=os.environ.get("CCACHE_DIR", os.path.expanduser("~/.cache/ccache")))
    return found


def main():
    prefix, document = pathlib.Path(sys.argv[1]), sys.argv[2]
    absent = [name for name in NEEDS if shutil.which(name) is None]
    if absent:
        print(f"SKIPPED: the tutorial: missing: {', '.join(absent)}")
        return 77
    with tempfile.TemporaryDirectory(prefix="berth-tutorial-") as root:
        folder = pathlib.Path(root) / "work"
        folder.mkdir()
        try:
            files, commands = page.follow(document, folder, environment(prefix, root))
        except page.Wrong as wrong:
            print(f"FAILED: {wrong}")
            return 1
    print(f"{document}: {files} files written, {commands} blocks run, all as shown")
    return 0


if __name__ == "__main__":
    sys.exit(main())
