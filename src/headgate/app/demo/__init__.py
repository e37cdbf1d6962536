"""`headgate demo`: the gateway over a simulated fleet, with load."""
