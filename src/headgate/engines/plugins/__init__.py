"""One file per engine: its metric names, and what is peculiar about them."""
