"""Recipes by name: the two that calstore has, and those that a store's settings make of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from calstore.darks.recipe import VERSIONS, recipe_for
from calstore.errors import Invalid, NotFound

SETTING: Final = "recipe"
"""Settings ``recipe/<name>`` are texts such as ``psana int_hi=16000 rms_hi=50``."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,62}")


@dataclass(frozen=True, slots=True)
class Recipes:
    """Which recipe is asked for: its name and changed parameters, ``None`` for the version's."""

    name: str | None = None
    changes: Mapping[str, int | float] = field(default_factory=dict)


def is_recipe_name(text: str) -> bool:
    """Whether a store's settings may call a recipe so."""
    return _NAME.fullmatch(text) is not None and text not in VERSIONS


def parse_recipe(text: str) -> Recipes:
    """The recipe of a setting's text: ``psana`` or ``robust``, then ``NAME=VALUE`` a blank apart.

    Raises
    ------
    Invalid
        For another recipe, a parameter that it has not, or an impossible value.
    """
    name, *changes = text.split() or [""]
    recipe = Recipes(name, parameters(changes))
    recipe_for(name, "", "uint16", recipe.changes)
    return recipe


def parameters(texts: Sequence[str]) -> dict[str, int | float]:
    """The parameters of texts such as ``rms_hi=50``; `Invalid` for anything else."""
    changes: dict[str, int | float] = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            changes[name] = int(value) if value.lstrip("-").isdecimal() else float(value)
        except ValueError:
            raise Invalid(f"{text!r} is no parameter of a recipe; write it as rms_hi=50") from None
    return changes


def recipe_named(
    settings: Mapping[str, str], name: str | None, changes: Mapping[str, int | float]
) -> Recipes:
    """The recipe that a person asked for, with some parameters changed.

    Parameters
    ----------
    settings
        Of the store.
    name
        ``None`` for the recipe that the version has.

    Raises
    ------
    NotFound
        When there is no recipe of that name.
    """
    if name is None or name in VERSIONS:
        return Recipes(name, changes)
    text = settings.get(f"{SETTING}/{name}")
    if text is None:
        own = [key.partition("/")[2] for key in settings if key.startswith(f"{SETTING}/")]
        raise NotFound(
            f"no recipe {name!r}; there are {', '.join([*VERSIONS, *own])}. To make one: calstore "
            f"config {SETTING}/{name} 'psana rms_hi=50'"
        )
    made = parse_recipe(text)
    return Recipes(made.name, {**made.changes, **changes})
