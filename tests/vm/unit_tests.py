"""Runs tests of single classes that want a machine of their own kind in a guest: its kernel and file systems, all capabilities."""
import time

SECONDS = 1800  # of one program
PROGRAMS = ("sqlite_full_disk_test", "metadata_full_disk_test", "content_full_disk_test", "snapshot_native_full_disk_test",
            "diff_walking_root_test", "snapshot_overlay_test", "snapshot_btrfs_test", "snapshot_native_test")


def run(place, args):
    unknown = set(args.names) - set(PROGRAMS)
    if unknown:
        raise SystemExit("no such program: " + ", ".join(sorted(unknown)))
    machine = place.boot()
    print("the guest is up after %.0f s" % machine.wait_until_ready(), flush=True)
    failed = []
    for name in args.names or PROGRAMS:
        began = time.monotonic()
        done = machine.start(["/payload/unit/" + name], LD_LIBRARY_PATH="/usr/local/lib").wait(SECONDS, show=lambda line: print(line, end="", flush=True) if args.verbose else None)
        if done.code != 0:
            failed.append(name)
            print(done.out + "exit code %d" % done.code)
        for line in done.out.splitlines():
            if line.startswith(("[  PASSED  ]", "[  SKIPPED ]")):
                print("    " + line)
        print("%-8s %s (%.0f s)" % ("FAILED" if done.code else "passed", name, time.monotonic() - began), flush=True)
    machine.power_off()
    return 1 if failed else 0
