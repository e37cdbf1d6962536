"""A decision in a few words, for a response header."""

from headgate.model.decisions import Decision

LONGEST = 200
"""Characters."""


def describe(decision: Decision) -> str:
    """Printable ASCII, at most `LONGEST` characters, `name=value` parts separated by `; `, the policy first.

    `default; cost=0.41 of 3; prefix=512/640; in-flight=2; fallbacks=2` or `default; refused=saturated`.
    """
    parts = [decision.policy]
    if decision.refused is not None:
        parts.append(f"refused={decision.refused}")
    elif decision.chosen:
        parts += _choice(decision)
    if decision.priority:
        parts.append(f"priority={decision.priority}")
    if decision.waited_s > 0:
        parts.append(f"waited={decision.waited_s:.3f}s")
    text = "; ".join(parts)
    if not (text.isascii() and text.isprintable()):
        text = "".join(letter if " " <= letter <= "~" else "?" for letter in text)
    return text[:LONGEST]


def _choice(decision: Decision) -> list[str]:
    parts = []
    scored = sum(1 for candidate in decision.candidates if candidate.cost is not None)
    pick = next((one for one in decision.candidates if one.endpoint == decision.chosen[0]), None)
    if pick is not None and pick.cost is not None:
        parts.append(f"cost={pick.cost:.3g} of {scored}")
    if pick is not None:
        parts += [f"prefix={pick.matched_tokens}/{decision.prompt_tokens}", f"in-flight={pick.in_flight}"]
    if filtered := len(decision.candidates) - scored:
        parts.append(f"filtered={filtered}")
    return [*parts, f"fallbacks={len(decision.chosen) - 1}"]
