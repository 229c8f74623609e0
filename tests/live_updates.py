"""Updates a view from one version to the other and back, until it has done so often enough.

``python live_updates.py STORE DEST COUNTER UPDATES GENERATIONS``: each update adds a byte to the
file COUNTER, so that a process that takes over from a killed one goes on from there. GENERATIONS
is how many are kept, 0 to update DEST in place.
"""

import sys
from pathlib import Path

from calstore.repository.materialize import materialize
from calstore.repository.store import open_store


def main() -> None:
    store, dest, counter = open_store(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
    updates, generations = int(sys.argv[4]), int(sys.argv[5])
    versions = [store["xpp/main@1"], store["xpp/main@2"]]
    done = counter.stat().st_size if counter.exists() else 0
    for number in range(done, updates):
        materialize(
            store, versions[number % 2], dest, generations=generations or None, discard=False
        )
        with counter.open("ab") as file:
            file.write(b".")


if __name__ == "__main__":
    main()
