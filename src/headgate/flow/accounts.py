"""Fairness ids: what each may use, what it used, and which may be forgotten."""

from collections import OrderedDict
from collections.abc import Sequence
from heapq import nsmallest

from headgate.flow.lanes import Lanes
from headgate.flow.queue import Account, Ticket
from headgate.flow.settings import FlowSettings
from headgate.flow.view import FlowView

MOST_SHOWN = 1000
"""Flows in a view."""


class Accounts:
    """The accounts of one pool. Times are seconds and never go back."""

    def __init__(self, settings: FlowSettings, lanes: Lanes) -> None:
        """*lanes*: where the flows of the accounts are."""
        self._settings = settings
        self._lanes = lanes
        self._all: dict[str, Account] = {}
        self._idle: OrderedDict[str, Account] = OrderedDict()
        """Those without a request; the one for which that is true longest is the first."""

    def of(self, who: str, now: float) -> Account:
        """The account of a fairness id."""
        account = self._all.get(who)
        if account is None:
            account = self._all[who] = Account(who)
            self._set_share(account, now, new=True)
            self.rest(account)
        return account

    def configure(self, settings: FlowSettings, now: float) -> None:
        """These are the settings from now on; what was used stays used."""
        self._settings = settings
        for account in self._all.values():
            self._set_share(account, now, new=False)

    def charge(self, account: Account, ticket: Ticket, now: float) -> float | None:
        """Charge the request to its account, which has a quota: None. Or so many seconds it is too early."""
        account.refill(now)
        needed = min(ticket.tokens, account.burst)
        if account.level < needed:
            return (needed - account.level) / account.rate
        account.level -= ticket.tokens
        ticket.charged = ticket.tokens
        return None

    def stir(self, account: Account) -> None:
        """It is about to have one request more."""
        if not account.running and not account.queued and self._idle:
            self._idle.pop(account.id, None)

    def rest(self, account: Account) -> None:
        """If it has no request any more, it may be forgotten some time."""
        if account.queued or account.running:
            return
        if account.flows:
            for flow in account.flows[:]:
                if not self._lanes.fairness(flow).owes(flow):
                    self._lanes.forget(flow)
        idle = self._idle
        if account.id in idle:
            idle.move_to_end(account.id)
        else:
            idle[account.id] = account
        while len(idle) > self._settings.most_accounts:
            name, oldest = idle.popitem(last=False)
            shares = self._settings.shares
            if name in shares and len(idle) >= len(shares):
                idle[name] = oldest  # what it used counts, however many others come
                continue
            for flow in oldest.flows[:]:
                self._lanes.forget(flow)
            del self._all[name]

    def views(self, now: float) -> list[FlowView]:
        """The most queued first, then those that used most; an account without flows has its last band."""
        found = []
        for account in self._all.values():
            left = None
            if account.rate:
                left = min(account.burst, account.level + account.rate * (now - account.level_at))
            bands: dict[int, tuple[int, int, float]] = {}
            for flow in account.flows:
                queued, size, ahead = bands.get(flow.priority, (0, 0, 0.0))
                ahead += self._lanes.fairness(flow).ahead(flow)
                bands[flow.priority] = queued + flow.queued, size + flow.bytes, ahead
            found += [
                FlowView(
                    id=account.id,
                    band=band,
                    queued=queued,
                    bytes=size,
                    tokens=account.tokens,
                    ahead=ahead,
                    weight=account.weight,
                    running=account.running,
                    quota_left=left,
                )
                for band, (queued, size, ahead) in (bands or {account.band: (0, 0, 0.0)}).items()
            ]
        return nsmallest(MOST_SHOWN, found, key=_busiest)

    def check(self, tickets: Sequence[Ticket], kept: int, kept_bytes: int) -> None:
        """Assert that the sums are those of *tickets*, all that wait, and that bounds hold; not for so many
        requests and bytes, which waited when the settings changed."""
        for account in self._all.values():
            own = [ticket for ticket in tickets if ticket.account is account]
            assert account.queued == len(own) <= max(kept, account.most_requests)
            size = sum(ticket.bytes for ticket in own)
            assert account.bytes == size <= max(kept_bytes, account.most_bytes)
            assert (account.id in self._idle) == (not account.queued and not account.running)
        assert len(self._idle) <= self._settings.most_accounts

    def _set_share(self, account: Account, now: float, *, new: bool) -> None:
        share = self._settings.shares.get(account.id, self._settings.other_shares)
        account.weight = share.weight
        account.most_requests = share.most_requests
        account.most_bytes = share.most_bytes
        before, had = account.burst, account.rate
        if had:
            account.refill(now)
        quota = share.quota
        account.rate = 0.0 if quota is None else quota.tokens_per_minute / 60.0
        account.burst = 0.0 if quota is None else quota.burst_tokens or quota.tokens_per_minute
        account.level_at = now
        if new or not had:
            account.level = account.burst
        else:
            account.level = min(account.burst, account.level + max(0.0, account.burst - before))


def _busiest(view: FlowView) -> tuple[int, float, str, int]:
    return -view.queued, -view.tokens, view.id, -view.band
