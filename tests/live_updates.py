"""Updates a view from one version to the other and back, until it has done so often enough.

``python live_updates.py STORE DEST COUNTER UPDATES GENERATIONS`` imports calstore once; for each
line on stdin it forks a process that does the updates, and says its number, then how it ended.
Each update adds a byte to the file COUNTER, so that a process that takes over from a killed one
goes on from there. GENERATIONS is how many are kept, 0 to update DEST in place.
"""

import os
import sys
import traceback
from pathlib import Path

from calstore.repository.materialize import materialize
from calstore.repository.store import open_store


def update_on() -> None:
    store, dest, counter = open_store(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
    updates, generations = int(sys.argv[4]), int(sys.argv[5])
    versions = [store["xpp/main@1"], store["xpp/main@2"]]
    done = counter.stat().st_size if counter.exists() else 0
    for number in range(done, updates):
        materialize(store, versions[number % 2], dest, generations=generations or None)
        with counter.open("ab") as file:
            file.write(b".")


def serve() -> None:
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                update_on()
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
