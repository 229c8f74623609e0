"""calstore reproduce."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from calstore.cli.context import (
    AnyDetectorArgument,
    JsonOption,
    VersionArgument,
    emit_json,
    opened,
    printable,
    progress_of,
)
from calstore.cli.raw import PsanaOption, psana_of

if TYPE_CHECKING:
    from calstore.repository.reproduce import Reproduced

_ABSENT_CODE = 3


def reproduce(
    context: typer.Context,
    ref: VersionArgument,
    detector: AnyDetectorArgument = None,
    psana_python: PsanaOption = "",
    as_json: JsonOption = False,
) -> None:
    """Derive constants again from the recorded runs, and compare digest by digest.

    REF may also be the digest of one derivation. The frames are looked for where they were read,
    then where the experiment has its data; their digest tells whether they are the same. Nothing
    is stored or changed. Constants that were imported or set have no derivation and are left out.

    Example: calstore reproduce xppn4116/main Epix100a.1

    Exit codes: 0 every digest is the same, 1 one differs or frames have changed, 3 no such version,
    nothing in it was derived, or frames are gone.
    """
    from calstore.repository.reproduce import CHANGED, DIFFERS, GONE
    from calstore.repository.reproduce import reproduce as again
    from calstore.repository.run_data import found_again

    store = opened(context)
    psana = psana_of(psana_python)
    found = again(
        store,
        ref,
        detector,
        opener=lambda evidence, wanted: found_again(store, evidence, wanted, psana),
        progress=progress_of("reproduce", quiet=as_json),
    )
    if as_json:
        emit_json({"derivations": [_json(each) for each in found]})
    else:
        for each in found:
            _print(each)
    outcomes = {each.outcome for each in found}
    if outcomes & {DIFFERS, CHANGED}:
        raise typer.Exit(1)
    if GONE in outcomes:
        raise typer.Exit(_ABSENT_CODE)


def _print(each: Reproduced) -> None:
    who = "" if each.detector is None else f"  {printable('/'.join(each.detector))}"
    typer.echo(f"{each.outcome}  {each.derivation.short}  recipe {printable(each.recipe)}{who}")
    if each.why:
        typer.echo(f"  {printable(each.why)}")
    for one in each.compared:
        now = "" if one.now == one.stored else f", now {one.now.short}"
        typer.echo(f"  {printable(one.type_name)}  {one.stored.short}{now}")


def _json(each: Reproduced) -> dict[str, Any]:
    return {
        "arrays": [
            {"now": str(one.now), "stored": str(one.stored), "type": one.type_name}
            for one in each.compared
        ],
        "derivation": str(each.derivation),
        "group": None if each.detector is None else each.detector[0],
        "outcome": each.outcome,
        "recipe": each.recipe,
        "source": None if each.detector is None else each.detector[1],
        "why": each.why,
    }
