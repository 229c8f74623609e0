"""The processes that share a run: one alone, or those that mpirun started."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from calstore.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Sequence

Value = TypeVar("Value")


class Crew(Protocol):
    """Processes that do the same at the same time; the first of them commits."""

    @property
    def rank(self) -> int:
        """Which of them this is, from 0."""
        ...

    @property
    def of(self) -> int:
        """How many there are."""
        ...

    def share(self, value: Value) -> Value:
        """What the first of them has, for all."""
        ...

    def gather(self, value: Value) -> Sequence[Value]:
        """What each of them has, by rank, for the first; nothing for the others."""
        ...


@dataclass(frozen=True, slots=True)
class Alone:
    """One process."""

    rank: int = 0
    of: int = 1

    def share(self, value: Value) -> Value:
        """The value itself."""
        return value

    def gather(self, value: Value) -> Sequence[Value]:
        """The value itself, as the only one."""
        return (value,)


class MpiCrew:
    """The processes of an MPI program."""

    def __init__(self) -> None:
        try:
            from mpi4py import MPI
        except (ImportError, RuntimeError) as error:
            raise Invalid(
                f"started by mpirun, but mpi4py does not work here ({error}); "
                "pip install 'calstore[mpi]', with an MPI beside it"
            ) from error
        self._world: Any = MPI.COMM_WORLD

    @property
    def rank(self) -> int:
        """Which of them this is, from 0."""
        return int(self._world.Get_rank())

    @property
    def of(self) -> int:
        """How many there are."""
        return int(self._world.Get_size())

    def share(self, value: Value) -> Value:
        """What the first of them has, for all."""
        shared: Value = self._world.bcast(value, root=0)
        return shared

    def gather(self, value: Value) -> Sequence[Value]:
        """What each of them has, by rank, for the first; nothing for the others."""
        return self._world.gather(value, root=0) or ()

    def abort(self, code: int) -> None:
        """End all of them at once: one that failed would let the others wait for ever."""
        self._world.Abort(code)
