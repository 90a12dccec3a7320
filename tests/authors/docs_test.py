#!/usr/bin/env python3
"""Man pages and completions name everything that --help names, for all programs; man reads the pages without a complaint.

Usage: docs_test.py BERTHCTL BERTHD BERTH-PLUGIN-RUN
"""
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

PROGRAMS = {"berthctl": sys.argv[1], "berthd": sys.argv[2], "berth-plugin-run": sys.argv[3]}
SECTIONS = {"berthctl": "1", "berthd": "8", "berth-plugin-run": "8"}


def output(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30, check=True).stdout


def help_of(program, *words):
    """Options and subcommands that --help shows for a command."""
    text = output(PROGRAMS[program], *words, "--help")
    options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", "\n".join(
        line[:30] for line in text.splitlines() if line.lstrip().startswith("-"))))
    commands = []
    if "Subcommands:" in text:
        for line in text.split("Subcommands:")[1].splitlines():
            match = re.match(r"  ([a-z]+)(?: |$)", line)
            if match:
                commands.append(match.group(1))
    return options, commands


def table(program, words=()):
    """(words of the command, its options, its subcommands), for all commands."""
    options, commands = help_of(program, *words)
    yield words, options, commands
    for command in commands:
        yield from table(program, (*words, command))


class Docs(unittest.TestCase):
    def test_man_pages_name_every_command_and_option(self):
        for program in PROGRAMS:
            page = output(PROGRAMS["berthctl"], "man", program).replace("\\-", "-")
            sections = dict(re.findall(r"^\.SS (\S.*)\n((?:(?!\.S[SH]).*\n)*)", page, re.M))
            seen = 0
            for words, options, _ in table(program):
                if not words:
                    section = page.split(".SH OPTIONS")[1].split(".SH COMMANDS")[0]
                else:
                    name = " ".join((program, *words))
                    self.assertIn(name, sections)
                    section = sections[name]
                    if "\\fIcommand\\fR" in section or ".PP" not in section:
                        continue  # its commands have sections of their own
                for option in options:
                    self.assertIn(option, section, f"{program} {words}")
                    seen += 1
            self.assertGreater(seen, 8, program)
            self.assertTrue(page.splitlines()[1].startswith(".TH %s %s " % (program.upper(), SECTIONS[program])), page)

    def test_man_reads_them_without_a_complaint(self):
        if shutil.which("man") is None:
            self.skipTest("man is missing")
        for program, section in SECTIONS.items():
            with tempfile.NamedTemporaryFile("w", suffix=f".{section}") as file:
                file.write(output(PROGRAMS["berthctl"], "man", program))
                file.flush()
                done = subprocess.run(["man", "--warnings", "-l", file.name], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                      text=True, timeout=60, check=False)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertIn("--version", done.stdout)

    def test_wrong_use_is_exit_code_2(self):
        for program, path in PROGRAMS.items():
            done = subprocess.run([path, "--no-such-option"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30, check=False)
            self.assertEqual(done.returncode, 2, f"{program}: {done.stdout}")

    def complete(self, shell, program, *words):
        """What bash offers for the last of the words."""
        script = output(PROGRAMS["berthctl"], "completion", shell, program)
        line = " ".join(f"'{word}'" for word in (program, *words))
        return set(output("bash", "-c", f"{script}\nCOMP_WORDS=({line}); COMP_CWORD={len(words)}; _{program}; "
                                        'printf "%s\\n" "${COMPREPLY[@]}"').split())

    def test_bash_offers_every_command_and_option(self):
        for program in PROGRAMS:
            for words, options, commands in table(program):
                offered = self.complete("bash", program, *words, "")
                self.assertLessEqual(set(commands) | options, offered, f"{program} {words}")

    def test_bash_offers_values_and_no_files_for_them(self):
        self.assertEqual(self.complete("bash", "berthctl", "plugin", "new", "--lang", ""), {"cpp", "c", "rust"})
        self.assertEqual(self.complete("bash", "berthctl", "plugin", "validate", "--level", "h"), {"hostile"})
        self.assertEqual(self.complete("bash", "berthctl", "plugin", "why", "--jso"), {"--json"})
        self.assertIn("/etc/passwd", self.complete("bash", "berthd", "--config", "/etc/passw"))

    def test_zsh_has_every_option_and_can_be_read(self):
        for program in PROGRAMS:
            script = output(PROGRAMS["berthctl"], "completion", "zsh", program)
            self.assertTrue(script.startswith(f"#compdef {program}\n"))
            for _, options, commands in table(program):
                for word in (*options, *commands):
                    self.assertIn(word, script)
            if shutil.which("zsh"):
                subprocess.run(["zsh", "-n"], input=script, text=True, timeout=30, check=True)
        if shutil.which("zsh") is None:
            self.skipTest("zsh is missing")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=0)
