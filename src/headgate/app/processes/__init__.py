"""What all our processes share: starting, ending, lines on standard output."""
