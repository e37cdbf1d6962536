"""One pool's machine: events in, actions out. Pure: time and dice are arguments."""
