"""How programs ended that nobody killed: what they said in their logs, and who of a stack is no longer there. Only the standard
library."""

import pathlib

# Of a sanitizer, of assert(), of the C library's own checks.
CRASH_MARKS = (
    "ERROR: AddressSanitizer",
    "ERROR: LeakSanitizer",
    "WARNING: ThreadSanitizer",
    ": runtime error: ",
    "Assertion `",
    "*** stack smashing detected",
)


def crash_text(text):
    """The end of what was said, from the first mark of a crash; empty: there is none."""
    found = [at for at in map(text.find, CRASH_MARKS) if at >= 0]
    return text[text.rfind("\n", 0, min(found)) + 1 :][:6000] if found else ""


def crashes(run):
    """{log: what it says of a crash} of the services of a stack of deploy/up."""
    said = {p.name: crash_text(p.read_text(errors="replace")) for p in sorted(pathlib.Path(run).glob("services/*.log"))}
    return {name: text for name, text in said.items() if text}


def birth(pid):
    """The time of its start, which with the pid names one process for ever; None: it has ended."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


class Watched:
    """The processes of a stack at one moment, by their names in its env file."""

    def __init__(self, env):
        prefix = "FLEETSEAL_PID_"
        pids = {name.removeprefix(prefix): pid for name, pid in env.items() if name.startswith(prefix)}
        self.processes = {name: (pid, birth(pid)) for name, pid in pids.items()}

    def ended(self):
        """Those that are no longer there; one that was started in their place does not count."""
        return sorted(name for name, (pid, born) in self.processes.items() if born is None or birth(pid) != born)
