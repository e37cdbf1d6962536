"""`headgate picker`: pools, their machines, the wire and the admin API put together."""
