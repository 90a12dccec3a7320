"""Lets the power fail while a guest's berthd imports, unpacks, commits, creates and removes, and looks after the reboot at what is left."""
import json
import random
import time

import virtual_machine

KINDS = ("image", "blob", "snapshot", "container", "removal", "snapshot removal")
REMOVALS = ("removal", "snapshot removal")
SECONDS_OF_WORK = (1.0, 25.0)
SECONDS_OF_REMOVAL = (0.0, 3.0)  # every other round: a removal is slower than a guess
VERIFY_SECONDS = 1800
KEEP = 3
SHOWN = 20  # faults of one round


def none():
    return {kind: set() for kind in KINDS}


class Ledger:
    """What the guest has said that it begins, and that it has done."""

    def __init__(self):
        self.begun, self.done = none(), none()

    def take(self, line):
        """Returns an operation's own failure, or nothing."""
        message = json.loads(line)
        if "failed" in message:
            return message["failed"]
        for word, where in (("begin", self.begun), ("done", self.done)):
            if word in message:
                where[message[word]].add(message["seed"])
        return ""

    def under_way(self):
        return {kind: self.begun[kind] - self.done[kind] for kind in KINDS}

    def request(self):
        """For verify.py. An image or snapshot whose removal has begun may be there or not."""
        done = dict(self.done, image=self.done["image"] - self.begun["removal"], snapshot=self.done["snapshot"] - self.begun["snapshot removal"])
        return json.dumps({"done": {kind: sorted(done[kind]) for kind in KINDS}, "begun": {kind: sorted(self.begun[kind]) for kind in KINDS}, "keep": KEEP})

    def keep(self, images):
        """Goes on with these images and nothing else."""
        kept = set(images) | {0}
        before, self.begun, self.done = self.done["image"], none(), none()
        self.begun["image"], self.done["image"] = kept, kept & before


def words(counts):
    return ", ".join("%d %s%s" % (len(seeds), kind, "" if len(seeds) == 1 else "s") for kind, seeds in counts.items() if seeds) or "nothing"


def work_until_power_fails(machine, ledger, seed, seconds, after_removal):
    """`seconds` from the first operation, or from the first removal. Returns the failures of operations: none may fail before the power does."""
    old = sorted(ledger.done["image"] - {0})[:-1]
    command = machine.start(["python3", "-B", "/payload/guest/work.py", str(seed)] + [str(one) for one in old])
    lines = command.lines(VERIFY_SECONDS)
    failures = []

    def take(line):
        failure = "work.py ended with %d" % line if isinstance(line, int) else ledger.take(line) if line.startswith("{") else line.strip()
        if failure:
            failures.append(failure)

    for line in lines:
        take(line)
        if failures:
            return failures
        begun = json.loads(line)
        if begun.get("begin") in (REMOVALS if after_removal else KINDS) and begun["seed"] != 0:  # that one is the base
            break
    time.sleep(seconds)
    machine.cut_off()
    try:
        for line in lines:
            take(line)
    except virtual_machine.GuestFailed:
        pass  # as it should: that was the power
    return failures


def verify(machine, ledger, totals):
    """Returns faults, as sentences."""
    done = machine.run(["python3", "-B", "/payload/guest/verify.py"], VERIFY_SECONDS, ledger.request())
    faults, notes, result = [], [], None
    for line in done.out.splitlines():
        message = json.loads(line) if line.startswith("{") else {"fault": line}
        if "fault" in message:
            faults.append(message["fault"])
        if "note" in message:
            notes.append(message["note"])
        if "verified" in message:
            result = message
    if result is None:
        return faults + ["verify.py ended with %d" % done.code]
    for what, number in result["verified"].items():
        totals[what] = totals.get(what, 0) + number
    print("  verified: " + ", ".join("%d %s" % (number, what) for what, number in result["verified"].items()))
    for note in notes:
        print("  " + note)
    ledger.keep(result["images"])
    return faults


def run(place, args):
    seed = args.seed if args.seed is not None else random.randrange(1 << 31)
    print("%d rounds, --seed %d" % (args.rounds, seed), flush=True)
    source = random.Random(seed)
    ledger, totals, interrupted = Ledger(), {}, {kind: 0 for kind in KINDS}
    for number in range(1, args.rounds + 2):
        machine = place.boot()
        began = time.monotonic()
        up = machine.wait_until_ready()
        faults = verify(machine, ledger, totals)
        print("  up after %.0f s, verified after %.0f s" % (up, time.monotonic() - began - up), flush=True)
        if not faults and number <= args.rounds:
            after_removal = number % 2 == 0
            seconds = source.uniform(*(SECONDS_OF_REMOVAL if after_removal else SECONDS_OF_WORK))
            faults = work_until_power_fails(machine, ledger, seed % 1000 * 10**6 + number * 10**4 + 1, seconds, after_removal)
            for kind, seeds in ledger.under_way().items():
                interrupted[kind] += len(seeds)
            print("round %d: the power failed %.1f s after %s; under way: %s; acknowledged: %s" % (
                number, seconds, "the first removal" if after_removal else "the beginning", words(ledger.under_way()), words(ledger.done)), flush=True)
        if faults:
            more = ["and %d more" % (len(faults) - SHOWN)] if len(faults) > SHOWN else []
            print("FAILED, --seed %d:\n  - %s" % (seed, "\n  - ".join(faults[:SHOWN] + more)))
            return 1
    machine.power_off()
    print("%d rounds; interrupted: %s; verified: %s" % (
        args.rounds, ", ".join("%d %ss" % (number, kind) for kind, number in interrupted.items()),
        ", ".join("%d %s" % (number, what) for what, number in totals.items())))
    if not interrupted["image"] or not totals.get("acknowledged images") or not interrupted["removal"] + interrupted["snapshot removal"]:
        print("FAILED: no import or no removal was interrupted, or no import acknowledged: this has shown nothing")
        return 1
    return 0
