"""The objects of files, with what they name in other files: values of Secrets, CA certificates, API keys."""

from collections.abc import Iterable
from pathlib import Path

from headgate.io.sources.api_keys import ApiKeys
from headgate.io.sources.authorities import Authorities
from headgate.io.sources.files import Files
from headgate.io.sources.kept_pairs import KeptPairs
from headgate.io.sources.reader import Reader
from headgate.io.sources.secret_files import SecretFiles, names_files
from headgate.model.kept import Kept
from headgate.model.meta import Identity
from headgate.model.objects import Object, Secret
from headgate.model.snapshot import Snapshot


class Gathered:
    """Over time. Files that objects name are looked at by every `refresh`; objects only when they change."""

    def __init__(self, files: Files, fixed: Iterable[Object] = ()) -> None:
        """*fixed* objects are always there, unless a file has an object of the same identity."""
        self.kept = Kept()
        self._files = files
        self._fixed = {each.identity: each for each in fixed}
        self._written: dict[Identity, Secret] = {}
        """Secrets with values in files, as they are written."""
        self._secret_files = SecretFiles()
        self._pairs = KeptPairs()
        self._authorities = Authorities()
        self._keys = ApiKeys()
        for identity, each in self._fixed.items():
            self.kept.put(identity, each)

    @property
    def folders(self) -> frozenset[Path]:
        """Where a change of the files would show, as of the last `refresh`."""
        return self._files.folders

    def refresh(self, reader: Reader) -> Snapshot:
        """Bring `kept` up to date; what is in no object, without addresses. Blocks."""
        changes, problems = self._files.refresh(reader)
        for identity, each in changes.items():
            found = each or self._fixed.get(identity)
            if isinstance(found, Secret) and names_files(found):
                self._written[identity] = found
            else:
                self._written.pop(identity, None)
                self.kept.put(identity, self._pairs.sound(identity, found, self.kept.objects.get(identity)))
        secrets, unread = self._secret_files.read(self._written[each] for each in sorted(self._written))
        for secret in secrets:
            self.kept.put(secret.identity, secret)
        kept = self.kept
        naming = (kept.with_authorities[each] for each in sorted(kept.with_authorities))
        authorities, more = self._authorities.read(naming)
        keyed = [kept.with_keys[each] for each in sorted(kept.with_keys)]
        keys, wrong = self._keys.read((*keyed, *kept.secrets.values()) if keyed else ())
        found_problems = (*problems, *unread, *self._pairs.problems, *more, *wrong)
        return Snapshot(problems=found_problems, authorities=authorities, api_keys=keys)
