#!/usr/bin/env python3
"""Compares the types of berth/abi.h with their records in plugin-sdk/abi-layout/, by Debian's abidiff.

  check_types.py CC HEADER RECORDS            fails unless today's header has the types of every record
  check_types.py CC HEADER RECORDS --renew    writes the record of today's ABI version, *.abi

abidiff sees what the layout check (check_layout.py) does not: what a type that a slot names is made of, such as the
signature of berth_callback. It does not see constants, and it cannot tell a member that a struct may get at its end from
other changes; so it is shown today's header without the members that came later than the record. Exit code 77: no abidiff.
"""
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

from minors import minor_of, older
from record_layout import structs

ABIDW = ("abidw", "--no-show-locs", "--no-corpus-path", "--no-comp-dir-path", "--no-parameter-names", "--no-elf-needed")


def users(header):
    """C that uses every type of the header, so that its debug information has them all."""
    names = [name for name, _ in structs(header)]
    names += re.findall(r"^typedef struct (\w+) \1;", header, re.M)
    names += re.findall(r"^typedef [^;{]*?\(\*(\w+)\)\(", header, re.M)
    return "#include <berth/abi.h>\n" + "".join(f"{name} *use_{name};\n" for name in names)


def build(compiler, header, folder):
    """A shared object with the debug information of a header's text."""
    os.makedirs(os.path.join(folder, "berth"), exist_ok=True)
    for name, text in (("berth/abi.h", header), ("users.c", users(header))):
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.write(text)
    made = os.path.join(folder, "types.so")
    subprocess.run([compiler, "-std=c99", "-g", "-O0", "-shared", "-fPIC", f"-I{folder}", os.path.join(folder, "users.c"), "-o", made],
                   check=True)
    return made


def differences(record, built):
    """What abidiff has to say; empty when nothing differs."""
    done = subprocess.run(["abidiff", "--leaf-changes-only", "--no-added-syms", record, built], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False)
    if done.returncode == 0:
        return ""
    return done.stdout or f"abidiff ended with {done.returncode}"


def main():
    compiler, header_file, folder = sys.argv[1:4]
    if shutil.which("abidiff") is None:
        print("SKIPPED: abidiff is missing (package abigail-tools)")
        return 77
    with open(header_file, encoding="utf-8") as file:
        header = file.read()
    major = re.search(r"^#define BERTH_ABI_MAJOR (\d+)u", header, re.M).group(1)
    own = os.path.join(folder, f"{major}.{minor_of(header)}.abi")
    with tempfile.TemporaryDirectory(prefix="berth-abi-") as work:
        if "--renew" in sys.argv:
            subprocess.run([*ABIDW, "--out-file", own, build(compiler, header, work)], check=True)
            print("wrote " + own)
            return 0
        failed = not os.path.exists(own)
        if failed:
            print(f"there is no record of the types of ABI {major}.{minor_of(header)}: run ninja renew-abi-layout and commit {own}")
        for record in sorted(glob.glob(os.path.join(folder, major + ".*.abi"))):
            minor = int(os.path.basename(record).split(".")[1])
            with open(record[:-len("abi")] + "txt", encoding="utf-8") as file:
                layout = file.read()
            try:
                then = header if record == own else older(header, layout, minor)
                said = differences(record, build(compiler, then, work))
            except ValueError as error:
                said = str(error) + "\n"
            if said:
                failed = True
                print(f"berth/abi.h has other types than {record}:\n{said}", end="")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
