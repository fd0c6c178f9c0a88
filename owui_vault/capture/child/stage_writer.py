"""The child's view of the stage: its copies and links, and the mark that each was made from."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from owui_vault.capture.child.copies import copy_file, keep_attributes, link_file, unique_time_ns
from owui_vault.capture.child.errors import NoRoomError, SourceChangedError, UnreadableError
from owui_vault.capture.child.fences import Fences, Now, Probe, wall_ns
from owui_vault.capture.child.job import Job
from owui_vault.capture.child.marks import Mark, mark_from, mark_of, symlink_leaves
from owui_vault.capture.child.upload_marks import UploadMarks
from owui_vault.system.attributes import give_owner, read_extended
from owui_vault.system.filesystem import free_and_whole_bytes, room_of_copy
from owui_vault.system.sqlite_format import SIDE_SUFFIXES
from owui_vault.system.work_folder import Folder

_LOOK_AT_ROOM_EVERY_BYTES = 64 << 20
_ASSUMED_BYTES_PER_SECOND = 200e6
_SHARE_KEPT_FREE = 0.05
_MOST_RESERVES = 10  # five percent of a very large disk is more than anybody needs


@dataclass(slots=True)
class StageWriter:
    """Copies and links by name. An entry is good for as long as the live path has the same mark."""

    job: Job
    probe: Probe
    fences: Fences = field(default_factory=Fences)
    copies: dict[str, Mark] = field(default_factory=dict)
    links: dict[str, Mark] = field(default_factory=dict)
    others: dict[str, Mark] = field(default_factory=dict)  # directories and symlinks
    unreadable: set[str] = field(default_factory=set)
    leaving: set[str] = field(default_factory=set)  # symlinks that point out of the data directory
    lost: dict[str, tuple[str, ...]] = field(default_factory=dict)  # attributes that copies could not be given
    mappers: dict[int, str] = field(default_factory=dict)  # processes that can write without a trace, and what
    foreign: frozenset[int] = frozenset()  # devices that another machine's clock stamps
    once: set[str] = field(default_factory=set)  # copies that are good for this attempt only, whatever mark they bear
    ahead: dict[str, int] = field(default_factory=dict)  # copies of what is dated ahead: good until the clock is there
    copied_bytes: int = 0
    copying_seconds: float = 0.0
    _unlooked_bytes: int = 0
    inside: Folder = field(init=False)
    uploads: UploadMarks = field(init=False)

    def __post_init__(self) -> None:
        self.inside = Folder.hold(self.job.tree)
        self.uploads = UploadMarks(self.job)

    def read_clock(self) -> Now:
        """What time it is. A copy whose file bears a time that came since could be of an earlier state."""
        now = Now(self.probe.now_ns(), self.probe.device, self.foreign)
        for name in [name for name, when in self.ahead.items() if now.reached(when)]:
            self.ahead.pop(name)
            self.once.add(name)
        return now

    def judge(self, name: str, marks: Iterable[Mark], now: Now, *, once: bool) -> None:
        """Note for how long a copy of these marks is good, which was made at that time or later."""
        times = [when for mark in marks if (when := now.ahead(mark)) is not None]
        if times:
            self.ahead[name] = min(times)
        if once:
            self.once.add(name)

    def place(self, name: str) -> str:
        """Where a name stands in the stage, for reading at once. Raises FileNotFoundError, NotADirectoryError."""
        return self.inside.place(name)

    def has(self, name: str, mark: Mark) -> bool:
        """Whether the stage holds exactly this already."""
        copied = self.copies.get(name) == mark and name not in self.once
        return copied or self.others.get(name) == mark or self.has_link(name, mark)

    def has_link(self, name: str, mark: Mark) -> bool:
        """Whether the stage links to exactly this. Linking another name of the same file moves its ctime."""
        linked = self.links.get(name)
        return linked is not None and linked.but_for_ctime(mark)

    def put(self, name: str, mark: Mark, *, link: bool, fenced: bool = False, unsettled: bool = False) -> None:
        """Bring one entry into the stage. Raises SourceChangedError, NoRoomError; what may not be read is noted."""
        if mark.is_special or self.has(name, mark):
            return
        if mark.is_directory:
            self._make_directory(name, mark)
        elif mark.is_symlink:
            self._make_symlink(name, mark)
        else:
            self._put_file(name, mark, link=link, fenced=fenced, unsettled=unsettled)

    def _put_file(  # noqa: PLR0913  one entry, and four ways in which files are put
        self, name: str, mark: Mark, *, link: bool, fenced: bool, unsettled: bool, moving: bool = False
    ) -> None:
        self.forget(name)  # what is no longer known must not stay: nobody would ever take it out of the stage
        now = self.read_clock()
        try:
            if link and self._link(name, mark, fenced):
                return
            self.copy(self.job.locate(name), name, mark, fenced=fenced, moving=moving)
        except UnreadableError:
            self.unreadable.add(name)
            return
        self.unreadable.discard(name)
        self.copies[name] = mark
        self.judge(name, (mark,), now, once=unsettled)
        if unsettled:
            new_time = unique_time_ns(self.probe.is_coarse())
            os.utime(self.inside.place(name), ns=(new_time, new_time))

    def put_as_met(self, name: str, mark: Mark) -> None:
        """Copy a file that does not hold still for as long as that takes. Raises what `put` does."""
        self._put_file(name, mark, link=False, fenced=False, unsettled=True, moving=True)

    def _link(self, name: str, mark: Mark, fenced: bool) -> bool:
        real = self.job.locate(name)
        if fenced:
            self.fences.wait(real, mark, name)
        else:
            os.close(self.fences.open(real, mark, name))  # a file that nobody can read is found here, not by the engine
        place = self._new_place(name)
        before = mark_of(real)
        linked = link_file(real, place, mark, name)
        if linked is None:
            return False
        self.uploads.note_link(name, before, linked)
        self.links[name] = linked
        self.unreadable.discard(name)
        return True

    def copy(  # noqa: PLR0913  what is copied, and three ways in which copies differ
        self, source: str, name: str, mark: Mark, *, fenced: bool = False, ours: bool = False, moving: bool = False
    ) -> None:
        """Copy a real path to a name in the stage, with an eye on the room that is left.

        With `ours` the copy keeps our own owner and a private mode. `moving` asks for whatever is there, to the size
        the file has when it is opened; without it the mark must hold.
        """
        descriptor = self.fences.open(source, mark, name)
        try:
            room = room_of_copy(f"/proc/self/fd/{descriptor}", os.fstat(descriptor))
            self._unlooked_bytes += room
            if self._unlooked_bytes > _LOOK_AT_ROOM_EVERY_BYTES:
                self.require_room(room)
            if fenced:
                self.fences.through(descriptor, name)
            now = mark_from(os.fstat(descriptor))
            if moving:
                mark = now
            elif now != mark:
                raise SourceChangedError(name)
            kept = mark._replace(user=os.geteuid(), group=os.getegid(), mode=0o100600) if ours else mark
            copied = copy_file(descriptor, self._new_place(name), kept, name, whole=not moving, private=ours)
        finally:
            os.close(descriptor)
        self._note_lost(name, copied.lost)
        if copied.bytes_copied:
            self.copied_bytes += copied.bytes_copied
            self.copying_seconds += copied.seconds

    def _note_lost(self, name: str, lost: tuple[str, ...]) -> None:
        self.lost.pop(name, None)
        if lost:
            self.lost[name] = lost

    def require_room(self, size_bytes: int, place: str = "") -> None:
        """Raise NoRoomError unless this much fits and the reserve stays free, in the stage or in another place."""
        self._unlooked_bytes = 0
        free, whole = free_and_whole_bytes(place or self.job.work_dir)
        reserve = self.job.reserve_bytes
        reserve = max(reserve, min(int(whole * _SHARE_KEPT_FREE), reserve * _MOST_RESERVES))
        if free < size_bytes + reserve:
            raise NoRoomError(
                f"{place or self.job.home} has {free >> 20} MiB free; {size_bytes >> 20} MiB of copies"
                f" and a reserve of {reserve >> 20} MiB are needed"
            )

    def bytes_per_second(self) -> float:
        """How fast copies were so far."""
        if self.copied_bytes < 1 << 20 or self.copying_seconds <= 0:
            return _ASSUMED_BYTES_PER_SECOND
        return self.copied_bytes / self.copying_seconds

    def drop_all_but(self, names: Iterable[str]) -> None:
        """Make the stage hold nothing that the instant does not."""
        wanted = set(names)
        for name in [each for each in (*self.copies, *self.links, *self.others) if each not in wanted]:
            self.forget(name)
        self.unreadable &= wanted | {name + suffix for name in self.job.databases for suffix in ("", *SIDE_SUFFIXES)}

    def forget(self, name: str) -> None:
        """Take one entry out of the stage."""
        for each in (self.copies, self.links, self.others):
            each.pop(name, None)
        self.lost.pop(name, None)
        self._forget_judgement(name)
        self.inside.remove(name)

    def forget_database(self, name: str) -> None:
        """Remove a copy of a database with everything SQLite may have put beside it."""
        self._forget_judgement(name)
        for suffix in ("", *SIDE_SUFFIXES):
            self.unreadable.discard(name + suffix)
            self.inside.remove(name + suffix)

    def _forget_judgement(self, name: str) -> None:
        self.once.discard(name)
        self.ahead.pop(name, None)

    def place_for_database(self, name: str) -> str:
        """Where a copy of a database can be made: its directory may not have been met yet."""
        self._make_folder(os.path.dirname(name))
        return self._new_place(name)

    def _make_folder(self, name: str) -> None:
        try:
            self.inside.make_folder(name)
        except OSError as error:
            raise SourceChangedError(name, "is no longer a directory") from error

    def _new_place(self, name: str) -> str:
        try:
            return self.inside.place(name)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise SourceChangedError(name, "is no longer in a directory") from error

    def _make_directory(self, name: str, mark: Mark) -> None:
        known = self.others.get(name)
        if known is None or not known.is_directory:
            if name and not self.inside.has_folder(name):  # that of a database may have been made for its copy
                self.forget(name)
            self._make_folder(name)
        self.others[name] = mark

    def _make_symlink(self, name: str, mark: Mark) -> None:
        self.forget(name)
        try:
            target = os.readlink(self.job.locate(name))
        except OSError as error:
            raise SourceChangedError(name) from error
        place = self._new_place(name)
        os.symlink(target, place)
        os.utime(place, ns=(mark.mtime_ns, mark.mtime_ns), follow_symlinks=False)
        self._note_lost(name, give_owner(place, mark.user, mark.group))
        self.others[name] = mark
        (self.leaving.add if symlink_leaves(self.job, name, target) else self.leaving.discard)(name)

    def seal(self) -> None:
        """Give the directories their attributes and times, now that nothing is added to them any more."""
        for name in sorted(self.others, reverse=True):
            mark = self.others[name]
            if mark.is_directory:
                self._seal_directory(name, mark)

    def _seal_directory(self, name: str, mark: Mark) -> None:
        live = None
        with suppress(OSError):
            live = mark_of(self.job.locate(name))
        # The top level has no times in its mark; the live ones are as good as any.
        times = mark if mark.mtime_ns or live is None else live
        descriptor = os.open(self.inside.place(name), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            kept = mark._replace(mtime_ns=times.mtime_ns or wall_ns())
            self._note_lost(name, keep_attributes(descriptor, kept, read_extended(self.job.locate(name))))
        finally:
            os.close(descriptor)
