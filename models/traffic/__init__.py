"""Servers and clients of generated traffic (`cargo xtask generate`): one module a family of protocols, one function an
implementation. `python -m traffic.MODULE FUNCTION --host ADDRESS --port PORT [--seed N]` runs it: a server until it is
killed, a client for one session of work.

Libraries are imported where they are used: a client starts in a tenth of a second or so, and often.
"""

import argparse
import random
import sys
import time
from pathlib import Path


class Work:
    """What a session works with: its place, and draws by the seed."""

    def __init__(self, options):
        self.host, self.port, self.files = options.host, options.port, options.files
        self.more = options.more
        self.random = random.Random(options.seed)

    @property
    def six(self):
        return ":" in self.host

    @property
    def url_host(self):
        return f"[{self.host}]" if self.six else self.host

    def size(self, low=10, high=20_000):
        """Bytes, each magnitude as likely as the next."""
        return int(low * (high / low) ** self.random.random())

    def count(self, low=1, high=12):
        """A number of things to do, small ones more often."""
        return self.size(low, high + 1) if low else self.size(1, high + 2) - 1

    def bytes(self, low=10, high=20_000):
        return self.random.randbytes(self.size(low, high))

    def text(self, low=10, high=2_000):
        return "".join(self.random.choices("abcdefghijklmnop qrst uvwxyz .,\n", k=self.size(low, high)))

    def word(self):
        return "".join(self.random.choices("abcdefghijklmnopqrstuvwxyz", k=self.random.randint(3, 14)))

    def pick(self, *choices):
        return self.random.choice(choices)

    def think(self, low=0.003, high=0.8):
        """Waits as a user or a device would; `pause` for asynchronous code."""
        time.sleep(self.pause(low, high))

    def pause(self, low=0.003, high=0.8):
        return low * (high / low) ** self.random.random()

    def file(self):
        """One of the run's files."""
        return Path(self.files) / str(self.random.randint(1, 12))


def main(functions):
    """Runs the function of a module that the command line names; asynchronous ones, too."""
    parser = argparse.ArgumentParser()
    parser.add_argument("function")
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--files", default=".")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("more", nargs="*", help="what only this function needs")
    options = parser.parse_intermixed_args()
    result = functions[options.function](Work(options))
    if hasattr(result, "__await__"):
        import asyncio

        result = asyncio.run(result)
    sys.exit(result or 0)
