"""What things are: frozen values, valid by construction; no I/O and no clock."""
