"""How far a run is: one line of a terminal, or a line for each step elsewhere."""

import sys
import time

WIDTH = 30


class Progress:
    def __init__(self, steps: int) -> None:
        self.steps = max(1, steps)
        self.step = 0
        self.begun = time.monotonic()

    def next(self, what: str) -> None:
        """The step that begins now."""
        filled = min(WIDTH, WIDTH * self.step // self.steps)
        self.step += 1
        line = f"[{'#' * filled}{'.' * (WIDTH - filled)}] {time.monotonic() - self.begun:4.0f} s  {what}"
        sys.stderr.write(f"\r\x1b[K{line}" if sys.stderr.isatty() else f"{line}\n")
        sys.stderr.flush()

    def done(self) -> None:
        if sys.stderr.isatty():
            sys.stderr.write("\r\x1b[K")
