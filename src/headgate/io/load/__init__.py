"""An open-loop load generator: seeded workloads, streamed requests, what each of them felt like."""
