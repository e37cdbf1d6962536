"""What the plan decided about every object, as Kubernetes shows it: conditions, parents, listeners.

Good results are results too. `results.of_objects.result` gives the one of an object; problems for people
(`plan/problems.py`) come from the same decisions.
"""
