"""What kills processes at random while a test looks at what that costs."""

import os
import random
import signal
import threading


class Reaper(threading.Thread):
    """Kills one of `victims()` with -9, chosen by chance, after each pause of `every` (from, to) seconds, until told to end.

    with Reaper(endpoint.children, every=(0.1, 0.5), seed=3) as reaper: …"""

    def __init__(self, victims, every, seed):
        super().__init__(daemon=True)
        self.victims, self.every, self.chance = victims, every, random.Random(seed)
        self.kills, self.failure = 0, None
        self._over = threading.Event()

    def run(self):
        try:
            while not self._over.wait(self.chance.uniform(*self.every)):
                alive = sorted(self.victims())
                if not alive:
                    continue
                try:
                    os.kill(self.chance.choice(alive), signal.SIGKILL)
                    self.kills += 1
                except ProcessLookupError:
                    pass
        except Exception as failure:  # raised again by the test's thread: here nobody would see it
            self.failure = failure

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self.join()
        if self.failure:
            raise self.failure
