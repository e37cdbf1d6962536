"""Go-style flags for commands that stand in for Go programs."""

import re
from typing import Any

from typer.core import TyperCommand

_FLAG = re.compile(r"--?([A-Za-z][A-Za-z0-9-]+)(=.*)?", re.DOTALL)
_HUMP = re.compile(r"(?<=[a-z0-9])([A-Z])")
_TRUE, _FALSE = ("1", "t", "true"), ("0", "f", "false")


class GoFlags(TyperCommand):
    """Also takes `-poolName x`, `--poolName=x` for `--pool-name x`, and `--secure-serving=false`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """See click; the arguments are put into click's own spelling first."""
        return super().parse_args(ctx, [word for arg in args for word in self._normal(arg)])

    def _normal(self, arg: str) -> list[str]:
        match = _FLAG.fullmatch(arg)
        if match is None:
            return [arg]
        name = "--" + _HUMP.sub(r"-\1", match[1]).lower()
        found = next((each for each in self.params if name in each.opts), None)
        if found is None:
            return [arg]
        value = match[2]
        if value is not None and getattr(found, "is_flag", False):
            return [_switch(found, name, value[1:].lower(), arg)]
        return [name + (value or "")]


def _switch(option: Any, name: str, value: str, arg: str) -> str:
    if value in _TRUE:
        return name
    if value in _FALSE and option.secondary_opts:
        return str(option.secondary_opts[0])
    return arg
