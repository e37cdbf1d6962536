"""What a change costs the control plane, and how long it takes until requests see it."""
