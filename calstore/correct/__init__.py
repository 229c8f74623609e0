"""How constants are applied: where the pixels are."""
