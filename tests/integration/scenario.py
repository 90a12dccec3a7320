"""Reads scenario files.

A scenario is a list of shell commands as a user would type them, with what has to come of them:

    # a remark
    $ ctr images ls           must succeed; exit code and output have to be the peer's
    ! ctr images rm nothing   must fail; exit code, output and kind of error have to be the peer's
    % ctr plugins ls          must succeed; its output is not compared with the peer's
    ~ ctr images check        may do either, as the peer does
    > busybox:latest          a regular expression that a line of the output above has to match
    < alpine                  one that no line may match
    >! not found              one that the error output has to match

A line that ends in \\ goes on in the next. Each command runs in a shell of its own, in one scratch folder per daemon, with
CONTAINERD_ADDRESS and CONTAINERD_NAMESPACE set, $PLUGINS, the folder of berthd's plugins, and $LOCAL, the flag that ctr 2.x needs where 1.6 needs none. Directives come first or between commands:

    @title TEXT               what the scenario shows
    @client 1.6 | 2.x | any   which generations of ctr it is for (default any)
    @needs PROGRAM            skip, with the reason, where the program is missing
    @for NAME VALUE...        run the whole scenario once per value, with $NAME set
    @filesystem PATH TYPE MB  before the daemon starts: a loop-mounted file system at PATH under its root
    @without-unified-cgroup   the daemon runs in a mount namespace without /sys/fs/cgroup/unified
    @restart kill|term|away   end the daemon by SIGKILL or SIGTERM and start it again; away: SIGKILL and two seconds without it
    @kill-between-steps       run it on berthd once more with @restart kill before every command; nothing may change
    @berthd-only              the peer cannot do this
    @installed                about the berthd that the machine has as a service: none is started, and ctr talks to that one
    @berthd-config LINE       a line of berthd's configuration file; $DIR is the run's folder
"""
import dataclasses
import re

EXPECTATIONS = (">!", ">", "<")
KINDS = "$!%~"


class Malformed(Exception):
    """The scenario file itself is wrong."""


@dataclasses.dataclass
class Step:
    line: int
    kind: str  # one of KINDS, or "@" for a restart
    command: str
    present: list = dataclasses.field(default_factory=list)
    absent: list = dataclasses.field(default_factory=list)
    error: list = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Scenario:
    name: str
    title: str = ""
    client: str = "any"
    needs: list = dataclasses.field(default_factory=list)
    variable: tuple = ("", [""])
    filesystems: list = dataclasses.field(default_factory=list)
    berthd_config: list = dataclasses.field(default_factory=list)
    without_unified_cgroup: bool = False
    kill_between_steps: bool = False
    berthd_only: bool = False
    installed: bool = False
    steps: list = dataclasses.field(default_factory=list)


def _directive(scenario, number, line):
    word, _, rest = line[1:].partition(" ")
    rest = rest.strip()
    if word == "title":
        scenario.title = rest
    elif word == "client" and rest in ("1.6", "2.x", "any"):
        scenario.client = rest
    elif word == "needs":
        scenario.needs += rest.split()
    elif word == "for":
        name, *values = rest.split()
        scenario.variable = (name, values)
    elif word == "filesystem":
        path, kind, megabytes = rest.split()
        scenario.filesystems.append((path, kind, int(megabytes)))
    elif word == "berthd-config":
        scenario.berthd_config.append(rest)
    elif word == "without-unified-cgroup":
        scenario.without_unified_cgroup = True
    elif word == "kill-between-steps":
        scenario.kill_between_steps = True
    elif word == "berthd-only":
        scenario.berthd_only = True
    elif word == "installed":
        scenario.installed = scenario.berthd_only = True
    elif word == "restart" and rest in ("kill", "term", "away"):
        scenario.steps.append(Step(number, "@", rest))
    else:
        raise Malformed("line %d: unknown directive: %s" % (number, line))


DURATION = re.compile(r"(?<![\w-])(sleep|timeout|--timeout|behind) (\d+(?:\.\d+)?)(?![\w.])")
CONFIGURED = re.compile(r'(_timeout = ")(\d+)(s")')


def stretch(text, factor):
    """The same scenario for a machine that is slower by `factor`: what it waits for and gives time for is longer."""
    if factor == 1:
        return text
    text = DURATION.sub(lambda found: "%s %g" % (found.group(1), float(found.group(2)) * factor), text)
    return CONFIGURED.sub(lambda found: "%s%d%s" % (found.group(1), int(found.group(2)) * factor, found.group(3)), text)


def parse(name, text):
    scenario = Scenario(name)
    pending = ""
    for number, line in enumerate(text.splitlines(), 1):
        line = pending + line.strip()
        pending = ""
        if line.endswith("\\"):
            pending = line[:-1].rstrip() + " "
            continue
        if not line or line.startswith("#"):
            continue
        if line.startswith("@"):
            _directive(scenario, number, line)
            continue
        mark = next((m for m in EXPECTATIONS if line.startswith(m + " ")), None)
        if mark:
            if not scenario.steps or scenario.steps[-1].kind == "@":
                raise Malformed("line %d: an expectation without a command before it" % number)
            step = scenario.steps[-1]
            pattern = line[len(mark):].strip()
            re.compile(pattern)
            {">!": step.error, ">": step.present, "<": step.absent}[mark].append(pattern)
        elif line[0] in KINDS and line[1:2] == " ":
            scenario.steps.append(Step(number, line[0], line[2:]))
        else:
            raise Malformed("line %d: starts with none of the known marks: %s" % (number, line))
    return scenario
