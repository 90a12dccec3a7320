#!/usr/bin/env python3
"""Compares today's ABI layout with the records in plugin-sdk/abi-layout/.

  check_layout.py PROGRAM RECORDS            fails unless every record is kept
  check_layout.py PROGRAM RECORDS --renew    writes the record of today's ABI version

A record of major 0 and today's minor must be equal: before the first release the layout may still change, but not unnoticed.
Every other record of today's major must be a prefix: frozen structs unchanged, others only longer at their end.
"""
import glob
import os
import subprocess
import sys

# Structs without struct_size, which never change.
FROZEN = ("berth_str", "berth_bytes", "berth_message", "berth_header", "berth_method", "berth_status")


def parse(text):
    """Constants as {name: value}; structs as {name: (size, [member line, ...])}, members in order."""
    constants, structs = {}, {}
    for line in text.splitlines():
        words = line.split()
        if not words or words[0] == "#":
            continue
        if words[0] == "entry":
            constants["entry"] = words[1]
        elif words[1] == "=":
            constants[words[0]] = words[2]
        elif words[1] == "size":
            structs[words[0]] = (int(words[2]), [])
        else:
            structs[words[0].split(".")[0]][1].append(line)
    return constants, structs


def offset_of(member):
    return int(member.split()[2])


def broken(record, today):
    """What a plugin that was built with `record` would trip over, one line each."""
    constants, structs = parse(record)
    now_constants, now_structs = parse(today)
    wrong = []
    for name, value in constants.items():
        if now_constants.get(name) != value:
            wrong.append("%s was %s and is %s" % (name, value, now_constants.get(name, "gone")))
    for name, (size, members) in structs.items():
        if name not in now_structs:
            wrong.append("struct %s is gone" % name)
            continue
        now_size, now_members = now_structs[name]
        for i, member in enumerate(members):
            now = now_members[i] if i < len(now_members) else "gone"
            if now != member:
                wrong.append("%s: was \"%s\" and is \"%s\"" % (name, member, now))
                break
        else:
            if name in FROZEN and (now_size != size or len(now_members) != len(members)):
                wrong.append("%s is frozen; it had %d bytes and has %d" % (name, size, now_size))
            elif now_size < size:
                wrong.append("%s shrank from %d to %d bytes" % (name, size, now_size))
            elif len(now_members) > len(members) and offset_of(now_members[len(members)]) < size:
                wrong.append("%s has \"%s\" where it had padding, which an older struct_size reaches, too: fill it with a spare first"
                             % (name, now_members[len(members)]))
    return wrong


def main():
    program, folder = sys.argv[1], sys.argv[2]
    today = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    constants = parse(today)[0]
    version = "%s.%s" % (constants["BERTH_ABI_MAJOR"], sys.argv[sys.argv.index("--minor") + 1])
    own = os.path.join(folder, version + ".txt")
    if "--renew" in sys.argv:
        with open(own, "w", encoding="utf-8") as out:
            out.write("# Layout of berth/abi.h %s on x86_64. Written by tests/abi/layout/check_layout.py.\n" % version)
            out.write(today)
        print("wrote " + own)
        return 0
    failed = False
    if not os.path.exists(own):
        print("there is no record of the layout of ABI %s: run ninja renew-abi-layout and commit %s" % (version, own))
        failed = True
    for record in sorted(glob.glob(os.path.join(folder, "*.txt"))):
        if os.path.basename(record).split(".")[0] != constants["BERTH_ABI_MAJOR"]:
            continue
        with open(record, encoding="utf-8") as file:
            text = file.read()
        wrong = broken(text, today)
        if not wrong and record == own and parse(text) != parse(today):
            wrong = ["it grew: a released minor is closed, raise BERTH_ABI_MINOR"]
        if wrong:
            failed = True
            print("berth/abi.h breaks plugins that were built with %s:" % record)
            for line in wrong:
                print("  " + line)
            if constants["BERTH_ABI_MAJOR"] == "0":
                print("ABI 0.x has not been released yet: when the change is meant, run ninja renew-abi-layout and commit"
                      " the record with it.\nAfter the first release: undo it, or add at the end and raise BERTH_ABI_MINOR.")
            else:
                print("undo it, or add at the end and raise BERTH_ABI_MINOR; anything else needs a new major.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
