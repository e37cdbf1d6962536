"""What the wires cost."""
