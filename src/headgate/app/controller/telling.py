"""What is told of objects: their results, with what Envoys have said of them."""

from collections.abc import Callable, Container, Iterable, Mapping

from msgspec.structs import replace

from headgate.gateway.half import GatewayHalf, Provisioned, Update
from headgate.gateway.plan.results.of_objects import AnyResult, result
from headgate.gateway.quarantine import Quarantine
from headgate.gateway.standing import Standing, generations
from headgate.gateway.xds.session import REFUSED
from headgate.io.xds.server import XdsServer
from headgate.model.meta import Identity
from headgate.model.problems import Problem


class Telling:
    """Between the gateway half, what Envoys say, and who is told of results."""

    def __init__(
        self,
        half: GatewayHalf,
        quarantine: Quarantine,
        xds: XdsServer,
        updated: Callable[[Update], None] | None,
    ) -> None:
        """*updated*: told what is new; None: nobody follows results, they are asked for."""
        self._half, self._quarantine, self._xds, self._updated = half, quarantine, xds, updated
        self._standing = Standing()
        self._held: dict[Identity, tuple[AnyResult | None, str]] = {}
        """Objects that Envoy refuses: their results when it was given them, and its words."""
        self._waiting: set[str] = set()
        """Envoys whose word on a Gateway is waited for."""
        self._refusals: tuple[tuple[str, Problem], ...] = ()
        """What Envoys refused when they said something last."""
        self._untold: dict[Identity, None] = {}
        """Objects of which something new is to be told."""
        self._provisioned: dict[Identity, Provisioned] = {}
        """What Gateways are to be run by, not yet told."""

    def results(self) -> Mapping[Identity, AnyResult]:
        """What is to be said of every object now."""
        found: dict[Identity, AnyResult | None] = {**dict.fromkeys(self._held), **self._half.results()}
        world = self._half.world
        told = {each: self._standing.result(world, each, was) for each, was in sorted(found.items())}
        return {each: now for each, now in told.items() if now is not None}

    def update(self, update: Update) -> None:
        """This is new. While halves are tried, objects come and go: nothing is told of that."""
        self.note_held()
        for dataplane, found in update.generations.items():
            if found is None:
                self._standing.forget(dataplane)
                self._waiting.discard(dataplane)
            else:
                self._waiting.add(dataplane)
        self._untold |= dict.fromkeys(update.results)
        self._provisioned.update(update.provisioned)
        if not self._quarantine.trying:
            self._tell(update)

    def note_held(self) -> None:
        """Keep what became of objects that are being left out; to be called before they are."""
        held = self._quarantine.held
        for each in self._held.keys() - held.keys():
            del self._held[each]
        for each in held.keys() - self._held.keys():
            was = self._half.world.get(result, each)
            self._held[each] = (was, f"Envoy refuses it: {held[each].message}")
        self._untold |= dict.fromkeys(self._standing.refused(self._held))

    def heard(self, of: str | None, settled: bool, unsent: Container[str]) -> None:
        """The Envoys of one target said something; None: anything may be another, as it is when all are
        *settled*. *unsent*: of which some change was not yet sent.

        On a cluster, an Envoy that is not connected here may be connected to another controller, so that its
        word is not waited for.
        """
        if self._quarantine.trying:
            return
        refusals = self._xds.refusals
        if settled or refusals != self._refusals:
            of = None
        self._refusals = refusals
        for dataplane in tuple(self._waiting if of is None else self._waiting & {of}):
            if dataplane in unsent:
                continue
            taken = self._xds.acknowledged(dataplane)
            if taken is None:
                taken = self._updated is not None
            if taken and (settled or not refusals):
                self._waiting.discard(dataplane)
                self._untold |= dict.fromkeys(self._standing.taken(self._half.world, dataplane))
        self._note_closed(refusals)
        if self._untold:
            self._tell(Update({}, False))

    def _note_closed(self, refusals: Iterable[tuple[str, Problem]]) -> None:
        closed = {
            (dataplane, each.place.object.removeprefix("listener ")): each.message.removeprefix(REFUSED)
            for dataplane, each in refusals
            if is_about_a_port(each)
        }
        for dataplane in self._standing.closed(closed):
            if dataplane in self._half.dataplanes:
                self._untold |= dict.fromkeys(self._half.world.get(generations, dataplane))

    def _tell(self, update: Update) -> None:
        untold, self._untold = self._untold, {}
        provisioned, self._provisioned = self._provisioned, {}
        if self._updated is not None:
            world = self._half.world
            results = {each: self._standing.result(world, each, world.get(result, each)) for each in untold}
            self._updated(replace(update, results=results, provisioned=provisioned))


def is_about_a_port(problem: Problem) -> bool:
    """A listener whose port somebody else has: no object would help by being left out."""
    return problem.place.object.startswith("listener ") and "bind" in problem.message.lower()
