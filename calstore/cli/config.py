"""calstore config."""

from __future__ import annotations

from typing import Annotated

import typer

from calstore.cli.context import JsonOption, MessageOption, emit_json, opened, table


def config(
    context: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]",
            help="calib-dir or data-dir, perhaps with /<experiment>; recipe/<name>; reads-from.",
        ),
    ] = None,
    value: Annotated[
        str | None, typer.Argument(metavar="[VALUE]", help="What it shall be from now on.")
    ] = None,
    unset: Annotated[bool, typer.Option("--unset", help="Go back to the default.")] = False,
    message: MessageOption = "",
    as_json: JsonOption = False,
) -> None:
    """Show or change where experiments have their directories, and recipes for darks.

    calib-dir and data-dir are patterns for all experiments, in which {instrument} and {experiment}
    stand for the names; calib-dir/<experiment> is the place of one. The store remembers them for
    all its users, and who changed what. recipe/<name> is a recipe for darks with limits of your
    own: psana or robust, then parameters. reads-from names stores that have what this one has not,
    with blanks between them.

    Example: calstore config calib-dir/xppn4116 /sdf/data/lcls/ds/xpp/xppn4116/calib

    Example: calstore config recipe/xpp-epix 'robust rms_hi=50'

    Exit codes: 3 no store, 5 no such setting, no absolute path, or no such parameter.
    """
    from calstore.cli.identity import stamp
    from calstore.errors import Invalid
    from calstore.repository.settings import DEFAULTS, change_setting, settings_of

    store = opened(context)
    if unset and (name is None or value is not None):
        raise Invalid("--unset takes the name of a setting and no value")
    if name is not None and (unset or value is not None):
        change_setting(store, name, value, stamp(message))
        return
    made = settings_of(store)
    settings = {**DEFAULTS, **made}
    if name is not None:
        if name not in settings:
            raise Invalid(f"there is no setting {name!r}; there are {', '.join(settings)}")
        settings = {name: settings[name]}
    if as_json:
        emit_json(
            {
                "settings": {
                    key: {"default": key not in made, "value": settings[key]} for key in settings
                }
            }
        )
    elif name is not None:
        typer.echo(settings[name])
    else:
        typer.echo(
            table([(key, text, "" if key in made else "default") for key, text in settings.items()])
        )
