"""Runs scenario files of tests/integration and of scenarios/ in a guest, each with the harness of tests/integration."""
import os
import time

HERE = os.path.dirname(os.path.abspath(__file__))
INTEGRATION = os.path.join(HERE, "../integration/scenarios")
OWN = os.path.join(HERE, "scenarios")
SLOWNESS = 10
SECONDS = 1800  # of one scenario
# Not to be had in the guest.
LEFT_OUT = {}


def wanted(names):
    """(name, path in the guest) of all scenarios, or of those that are named."""
    found = [(name[:-len(".scenario")], "/payload/vm-scenarios/" + name) for name in sorted(os.listdir(OWN)) if name.endswith(".scenario")]
    found += [(name[:-len(".scenario")], "/payload/integration/scenarios/" + name) for name in sorted(os.listdir(INTEGRATION))]
    unknown = set(names) - {name for name, _ in found}
    if unknown:
        raise SystemExit("no such scenario: " + ", ".join(sorted(unknown)))
    return [one for one in found if not names or one[0] in names]


def run(place, args):
    machine = place.boot()
    print("the guest is up after %.0f s" % machine.wait_until_ready(), flush=True)
    facts = machine.run(["sh", "-c", "stat -f -c %T /sys/fs/cgroup; cat /proc/1/comm; for i in $(seq 60); do systemctl is-active -q berthd && break; sleep 2; done; systemctl is-active berthd; cat /sys/fs/cgroup/cgroup.controllers"], 300)
    print("cgroups, first process, berthd's unit, controllers: " + ", ".join(facts.out.splitlines()), flush=True)
    if facts.out.split()[:3] != ["cgroup2fs", "systemd", "active"]:
        print("FAILED: this is not the machine that was wanted\n" + machine.run(["journalctl", "-u", "berthd", "--no-pager"], 60).out)
        return 1
    command = ["--berthd", "/usr/local/bin/berthd", "--raw-call", "/payload/integration/raw_call"] + ([] if args.peer else ["--only", "berthd"])
    return run_in(machine, wanted(args.names), command, args.verbose)


def run_in(machine, files, arguments, verbose):
    """Runs the scenarios, (name, path) each, one after the other in a guest that is up, and ends it."""
    passed, failed, skipped = 0, [], []
    for name, path in files:
        if name in LEFT_OUT:
            skipped.append("%s: %s" % (name, LEFT_OUT[name]))
            continue
        command = ["python3", "-B", "/payload/integration/harness.py"] + arguments + (["-v"] if verbose else [])
        began = time.monotonic()
        done = machine.start(command + [path], BERTH_SLOWNESS=str(SLOWNESS), PYTHONUNBUFFERED="1").wait(SECONDS, show=lambda line: print(line, end="", flush=True) if verbose else None)
        seconds = time.monotonic() - began
        last = [line for line in done.out.splitlines() if line.startswith("SKIPPED: ")]
        if done.code == 77:
            skipped.append("%s: %s" % (name, last[-1][len("SKIPPED: "):] if last else "?"))
        elif done.code != 0:
            failed.append(name)
            print(done.out, end="")
        else:
            passed += 1
        print("%-8s %s (%.0f s)" % ({0: "passed", 77: "skipped"}.get(done.code, "FAILED"), name, seconds), flush=True)
    for line in skipped:
        print("SKIPPED: " + line)
    print("%d passed, %d failed%s, %d skipped" % (passed, len(failed), ": " + ", ".join(failed) if failed else "", len(skipped)), flush=True)
    machine.power_off()
    return 1 if failed or not passed else 0
