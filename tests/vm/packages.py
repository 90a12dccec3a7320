"""Runs the scenarios about the Debian packages in a guest without berthd: each installs, upgrades and removes what it wants."""
import os

import scenarios

OWN = os.path.join(scenarios.OWN, "packages")


def wanted(names):
    found = [name[:-len(".scenario")] for name in sorted(os.listdir(OWN))]
    unknown = set(names) - set(found)
    if unknown:
        raise SystemExit("no such scenario: " + ", ".join(sorted(unknown)))
    return [(name, "/payload/vm-scenarios/packages/%s.scenario" % name) for name in found if not names or name in names]


def run(place, args):
    machine = place.boot()
    print("the guest is up after %.0f s" % machine.wait_until_ready(), flush=True)
    return scenarios.run_in(machine, wanted(args.names), ["--only", "berthd"], args.verbose)
