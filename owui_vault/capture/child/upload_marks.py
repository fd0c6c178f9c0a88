"""The child's view of uploads from run to run: which may have been rewritten unnoticed, and what our links changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from owui_vault.capture.child.job import Job
from owui_vault.capture.child.known_uploads import identity_of, key_of, read_known, shape_of
from owui_vault.capture.child.marks import Mark

# Beyond either, copies would cost more than it costs engines to read everything once.
_MOST_COPIES = 1000
_MOST_COPIED_BYTES = 256 << 20


@dataclass(slots=True)
class UploadMarks:
    """Uploads at the first look, before we had moved anything, and since our last link to each."""

    job: Job
    reread: bool = False  # so many are in doubt that engines must read everything instead
    _first: dict[str, Mark] | None = None
    # By inode: a link moves the ctime of a file under all of its names. Equal numbers of two disks only cast doubt.
    _since: dict[int, Mark] = field(default_factory=dict)  # as our last link left it
    _disturbed: set[int] = field(default_factory=set)

    def first_look(self, job: Job, tree: Mapping[str, Mark]) -> Job:
        """The job with those uploads not to be linked that may hold other bytes than a repository has of them.

        Only at the first look of a child: later ones see what our own links have moved.
        """
        if self._first is not None:
            return job
        self._first = {name: mark for name, mark in tree.items() if mark.is_file and job.is_write_once(name)}
        doubtful = set(self._doubtful(job))
        if len(doubtful) > _MOST_COPIES or sum(self._first[name].size for name in doubtful) > _MOST_COPIED_BYTES:
            self.reread = True
            return job
        return replace(job, rewritten=job.rewritten | doubtful)

    def _doubtful(self, job: Job) -> Iterator[str]:
        for path, parent in job.known_uploads:
            known = read_known(path)
            for name, mark in (self._first or {}).items() if known else ():
                upload = known.get(key_of(name))
                if upload is not None and upload.is_doubtful(
                    shape_of(mark.size, mark.mtime_ns), identity_of(mark.inode, mark.ctime_ns), parent
                ):
                    yield name

    def note_link(self, name: str, before: Mark | None, after: Mark | None) -> None:
        """A link of ours moved the ctime of an upload; whatever else had moved it before casts doubt on it."""
        first = (self._first or {}).get(name)
        expected = self._since.get(first.inode, first) if first else None
        if before is None or after is None or before != expected or not after.but_for_ctime(before):
            self._disturbed |= {mark.inode for mark in (first, before, after) if mark}
        if after is not None:
            self._since[after.inode] = after

    def about(self, name: str, mark: Mark, *, settled: bool, linked: bool) -> dict[str, object]:
        """For the inventory: inode of the live file, its ctime at the first look and since; 0: it is in doubt.

        A copy may have been made before, or after, another name of the same file was linked, but by nobody's hand.
        """
        first = (self._first or {}).get(name)
        since = self._since.get(mark.inode, mark)
        known = linked or mark.ctime_ns in (since.ctime_ns, first.ctime_ns if first else since.ctime_ns)
        sure = settled and known and mark.inode not in self._disturbed
        return {
            "upload": mark.inode,
            "before_ns": first.ctime_ns if first else 0,
            "ctime_ns": since.ctime_ns if sure else 0,
        }
