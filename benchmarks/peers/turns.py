"""Updates in turn: each tool's process waits after an update until it is released for its next one.

So that all tools meet the same weather on a machine that is shared. A child finds the numbers of its two
pipes in the environment; without them it never waits. Needs the standard library only.
"""

import os
import select
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

PIPES = "RESIDENCY_TURNS"


def wait() -> None:
    """In a child, after each update: say so, and wait to be released."""
    if PIPES in os.environ:
        out, into = map(int, os.environ[PIPES].split(","))
        os.write(out, b".")
        if not os.read(into, 1):
            raise SystemExit("The benchmark that ran this has ended.")


class Child:
    """A tool in a process of its own that stops after every update; output goes to `log`."""

    def __init__(
        self, command: Sequence[str | Path], where: Path, env: Mapping[str, str], log: Path
    ) -> None:
        self._said, out = os.pipe()
        into, self._release = os.pipe()
        self.log = log
        with log.open("w") as stream:
            self.process = subprocess.Popen(
                command,
                cwd=where,
                env={**env, PIPES: f"{out},{into}"},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                pass_fds=(out, into),
            )
        os.close(out)
        os.close(into)

    def update(self, timeout: float, *, release: bool = True) -> bool:
        """Let it run until its next update has ended; False where it ended instead, or took too long."""
        try:
            if release:
                os.write(self._release, b".")
        except BrokenPipeError:
            return False
        ready, _, _ = select.select([self._said], [], [], timeout)
        return bool(ready) and bool(os.read(self._said, 1))

    def finish(self, timeout: float) -> None:
        """Let it run to its end; ended by force where that takes too long."""
        try:
            os.write(self._release, b"." * 64)
            self.process.wait(timeout)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            pass
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._said)
        os.close(self._release)

    def last_words(self) -> str:
        """The last line of its output."""
        return (self.log.read_text().strip().splitlines() or ["no output"])[-1][:300]
