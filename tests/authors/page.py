"""A page in Markdown as a program: its files are written, its commands run, and what they print compared, in the order of the page.

What a fenced block is, the comment above it says, or its language:

  <!-- file: PATH -->         the block is written to PATH, below the folder in which the page began
  <!-- not run: REASON -->    nobody looks at it, for a reason
  <!-- FOLDER/FILE -->        a file of the repository word for word; tests/layout compares them
  ```sh                       run by bash with errexit, in the folder and environment that the block before it left
  ```text, below an sh block  what that printed, stdout and stderr; none means nothing. … stands for any text of a
                              line, and alone in a line for any number of lines

Anything else is an error, so that no block is forgotten.
"""
import os
import pathlib
import re
import shlex
import signal
import subprocess
import time


class Wrong(Exception):
    """What is wrong with the page, beginning with FILE:LINE."""


class Block:
    def __init__(self, line, language, text, comment):
        self.line, self.language, self.text, self.comment = line, language, text, comment
        self.prints = ""  # of an sh block


def blocks(page):
    """The fenced blocks of a file. Comments that say what a block is stand on the line above it."""
    lines = pathlib.Path(page).read_text(encoding="utf-8").splitlines()
    found, at = [], 0
    while at < len(lines):
        fence = re.match(r"(`{3,})(\S*)$", lines[at])
        if not fence:
            at += 1
            continue
        begin = at
        while at + 1 < len(lines) and lines[at + 1] != fence.group(1):
            at += 1
        if at + 1 == len(lines):
            raise Wrong(f"{page}:{begin + 1}: the block has no end")
        text = "".join(line + "\n" for line in lines[begin + 1:at + 1])
        comment = re.match(r"<!-- (.*) -->$", lines[begin - 1]) if begin else None
        follows = found and begin - 1 == found[-1][0]  # right below the block before it
        found.append((at + 1, Block(begin + 1, fence.group(2), text, comment.group(1) if comment else ""), follows))
        at += 2
    return found


def steps(page):
    """[(kind, block)] in order, kind being file or run."""
    made = []
    for _, block, follows in blocks(page):
        where = f"{page}:{block.line}"
        if block.comment.startswith("file: "):
            made.append(("file", block))
        elif block.comment.startswith("not run: ") or re.match(r"\S+/\S+$", block.comment):
            made.append(("passed over", block))
        elif block.comment:
            raise Wrong(f'{where}: "{block.comment}" is not what a block can be')
        elif block.language == "sh":
            made.append(("run", block))
        elif block.language == "text" and follows and made and made[-1][0] == "run":
            made[-1][1].prints = block.text
        else:
            raise Wrong(f"{where}: a block that is neither run nor used: say what it is in the line above it")
    return [step for step in made if step[0] != "passed over"]


def pattern(expected):
    """A regular expression for text with …"""
    out = ""
    for line in expected.splitlines():
        if line == "…":
            out += "(?:[^\n]*\n)*?"
        else:
            out += "[^\n]*".join(re.escape(part) for part in line.split("…")) + "\n"
    return out + r"\Z"


class Terminal:
    """Runs one block after the other, as somebody would type them into one. What they leave in the background is ended by close()."""

    def __init__(self, folder, environment, timeout):
        self.folder, self.timeout = pathlib.Path(folder), timeout
        self.environment = environment
        self.state = self.folder.parent / (self.folder.name + ".state")
        self.state.write_text(f"cd {shlex.quote(str(self.folder))}\n", encoding="utf-8")
        self.processes = []  # each the leader of a group of its own

    def run(self, text):
        """(exit code, output); the code is None when it took too long."""
        state = shlex.quote(str(self.state))
        script = f". {state}\nset -e\n{text}\nset +e\n{{ export -p; printf 'cd %q\\n' \"$PWD\"; }} >{state}\n"
        output = self.folder.parent / (self.folder.name + ".output")
        with open(output, "wb") as file:
            process = subprocess.Popen(["bash", "-c", script], stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
                                       env=self.environment, start_new_session=True)
        self.processes.append(process)
        try:
            code = process.wait(self.timeout)
        except subprocess.TimeoutExpired:
            code = None
        said = output.read_text(encoding="utf-8", errors="replace")
        output.unlink()
        return code, said

    def close(self):
        for number in (signal.SIGTERM, signal.SIGKILL):
            end = time.monotonic() + 10
            self.signal(number)
            while self.signal(0) and time.monotonic() < end:
                time.sleep(0.05)
        self.state.unlink(missing_ok=True)

    def signal(self, number):
        """Sends it to all that is left; whether anything is."""
        left = False
        for process in self.processes:
            process.poll()
            try:
                os.killpg(process.pid, number)
                left = True
            except ProcessLookupError:
                pass
        return left


def follow(page, folder, environment, timeout=120):
    """Does what the page says, in a folder that is there and empty. Number of files and of blocks run; Wrong at the first difference."""
    folder = pathlib.Path(folder)
    count = {"file": 0, "run": 0}
    plan = steps(page)
    terminal = Terminal(folder, environment, timeout)
    try:
        for kind, block in plan:
            where = f"{page}:{block.line}"
            count[kind] += 1
            if kind == "file":
                path = folder / block.comment[len("file: "):]
                if not path.parent.is_dir():
                    raise Wrong(f"{where}: the folder of {path.relative_to(folder)} has not been made before")
                path.write_text(block.text, encoding="utf-8")
                continue
            code, said = terminal.run(block.text)
            if code != 0:
                ended = "did not end in time" if code is None else f"ended with {code}"
                raise Wrong(f"{where}: {ended}, having printed:\n{said}")
            if not re.match(pattern(block.prints), said):
                raise Wrong(f"{where}: printed\n{said}and the page shows\n{block.prints}")
    finally:
        terminal.close()
    return count["file"], count["run"]
