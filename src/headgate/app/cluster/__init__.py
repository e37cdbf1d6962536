"""What the processes that run on a cluster share."""
