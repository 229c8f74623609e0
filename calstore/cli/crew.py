"""The processes that mpirun or srun started, which fail together."""

from __future__ import annotations

import contextlib
import os
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

import typer

from calstore.cli.exit_codes import exit_code
from calstore.errors import CalstoreError

if TYPE_CHECKING:
    from calstore.repository.crew import Crew

_SIZES: Final = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS")
"""Where Open MPI, MPICH and Slurm say how many processes they started."""

_PATIENCE_S: Final = 1.0


@contextlib.contextmanager
def crew_of_environment(environment: Mapping[str, str] = os.environ) -> Iterator[Crew]:
    """The processes that share the work inside; an error in one of them ends all, with its code.

    Raises
    ------
    Invalid
        When there are several and mpi4py does not work here.
    """
    from calstore.repository.crew import Alone, MpiCrew

    if not any(environment.get(name, "1") not in ("", "0", "1") for name in _SIZES):
        yield Alone()
        return
    crew = MpiCrew()
    try:
        yield crew
    except CalstoreError as error:
        if crew.rank != 0:
            time.sleep(_PATIENCE_S)  # what fails everywhere is said by the first alone
        typer.echo(f"calstore: {error}", err=True)
        sys.stderr.flush()
        crew.abort(exit_code(error))
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        crew.abort(1)
