"""Where bytes live: backends, objects, arrays and logs."""
