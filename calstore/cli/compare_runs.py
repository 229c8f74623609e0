"""calstore compare-runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from calstore.cli.context import VersionArgument, opened, printable
from calstore.cli.image import name_in, source_of
from calstore.cli.raw import PsanaOption


def compare_runs(
    context: typer.Context,
    before: VersionArgument,
    after: Annotated[str, typer.Argument(metavar="REF", help="Another one.")],
    frames: Annotated[
        list[str], typer.Argument(metavar="FRAMES…", help="What calstore dark --from takes.")
    ],
    detector: Annotated[str, typer.Option("--detector", metavar="D", help="Of which detector.")],
    run: Annotated[
        int | None, typer.Option("--run", min=0, help="The run, if the data do not say it.")
    ] = None,
    event: Annotated[int, typer.Option("--event", min=0, help="Which, from 0.")] = 0,
    mean: Annotated[
        bool, typer.Option("--mean", help="The mean of up to 100 from there on.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE.html", help="A page of pictures.")
    ] = None,
    psana_python: PsanaOption = "",
) -> None:
    """Correct the same frames under two versions, and tell how the results differ.

    The page has both images between the same limits, their difference, and the mean by distance
    from the beam. Nothing is stored.

    Example: calstore compare-runs xpp/main xpp/mask r0012.xtc2 --detector epix100 -o x.html

    Exit codes: 3 no such version, detector or event, or no constants, 5 what does not fit.
    """
    from calstore.errors import Invalid
    from calstore.report.compare_page import compare_page, compared_text
    from calstore.repository.compare_runs import compare_runs as compare
    from calstore.repository.files import write_file
    from calstore.repository.picture import MOST_OF_A_MEAN

    if output is not None and output.suffix != ".html":
        raise Invalid(f"{output} is no page; name it FILE.html")
    store = opened(context)
    versions = (store[before][detector], store[after][detector])
    source = source_of(frames, versions[1].source, psana_python)
    number = source.contents().run if run is None else run
    if number is None:
        raise Invalid("the data do not say which run they are of; name it: --run N")
    one, other = (each.at(number) for each in versions)
    count = MOST_OF_A_MEAN if mean else 1
    found = compare(one, other, source, name_in(source, other), first=event, count=count)
    if output is not None:
        write_file(output, *(part.encode() for part in compare_page(found)))
    for line in compared_text(found):
        typer.echo(printable(line))
