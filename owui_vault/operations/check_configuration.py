"""What a valid configuration makes one look at twice. Files are looked at from outside; nothing is asked or written."""

from __future__ import annotations

import fnmatch
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from owui_vault.components.names import DATABASE, UPLOADS, VECTORS
from owui_vault.config.loading import Checked, checked
from owui_vault.config.settings import EngineName, RepositorySettings
from owui_vault.config.variables import variables_of
from owui_vault.config.yaml_source import read_document
from owui_vault.model.config_reports import ConfigurationReport
from owui_vault.model.secrets import (
    EnvironmentSecret,
    FileSecret,
    GivenSecret,
    KeyringSecret,
    SealedSecret,
    SecretReference,
)
from owui_vault.operations.notifications import is_regular, silence_warnings
from owui_vault.repositories.overlap import path_of
from owui_vault.secrets import secret_source
from owui_vault.system.mounts import is_within

#: What cron and systemd give to whatever they start.
_OF_A_SCHEDULER = frozenset({"HOME", "LANG", "LOGNAME", "PATH", "SHELL", "USER"})
#: Without these, a restored instance lacks what people put into it.
_OF_VALUE = (UPLOADS, VECTORS, "generated_images")
#: Variables of the environment that we go by ourselves, and what each decides.
_OUR_VARIABLES = {"DOCKER_HOST": "where the container's engine is", "XDG_STATE_HOME": "where the state is"}

Check = Callable[[Checked, Mapping[str, str]], Iterator[str]]


def check_configuration(path: Path, environ: Mapping[str, str]) -> ConfigurationReport:
    """Read a configuration and look at it. Raises ConfigError with every mistake in it."""
    path = path.absolute()
    known = checked(read_document(path), path, environ)
    settings = known.settings
    return ConfigurationReport(
        file=path,
        instance=settings.instance.name if settings.instance else "",
        repositories=tuple(each.name for each in settings.repositories),
        plans=tuple(each.name for each in settings.plans),
        warnings=tuple(dict.fromkeys(text for check in CHECKS for text in check(known, environ))),
    )


def _what_is_missing(known: Checked, _environ: Mapping[str, str]) -> Iterator[str]:
    settings = known.settings
    instance = settings.instance
    if not instance or not (instance.data_dir or instance.container):
        yield "no instance is configured: no snapshot can be taken here (instance.container, or data_dir)"
    if not settings.repositories:
        yield "no repository is configured: nothing can be stored or restored"
    for each in settings.repositories:
        if not each.keep:
            yield f"{each.name} has no 'keep': nothing is ever removed from it, and it grows until its disk is full"


def _what_would_be_lost(known: Checked, _environ: Mapping[str, str]) -> Iterator[str]:
    instance = known.settings.instance
    if not instance:
        return
    lost = [part for part in _OF_VALUE if any(fnmatch.fnmatchcase(part, pattern) for pattern in instance.exclude)]
    for part in lost:
        yield f"instance.exclude leaves out {part}: no snapshot holds it, and a restored instance lacks it"
    folder = instance.data_dir
    if not folder:
        return
    if not _is_there(folder):
        yield f"there is no {folder} that this user can see: is the disk of the data directory mounted?"
    elif not _is_there(folder / DATABASE):
        yield f"{folder} holds no {DATABASE}: is it the data directory of Open WebUI?"
    yield from _what_lies_beside(known, folder)


def _who_would_notice(known: Checked, _environ: Mapping[str, str]) -> Iterator[str]:
    settings = known.settings
    regular = [each.plans for each in settings.notifications if is_regular(each.when)]
    yield from silence_warnings(
        [each.name for each in settings.plans],
        has_heartbeat=settings.heartbeat is not None,
        with_heartbeat=tuple(settings.plan_heartbeats),
        regularly_told=regular,
    )


def _what_lies_beside(known: Checked, folder: Path) -> Iterator[str]:
    """What is lost along with the data directory, or with its disk."""
    places = [(f"the state directory {known.settings.state_dir}", known.settings.state_dir)]
    for each in known.settings.repositories:
        if place := _folder_of(each):
            places.append((f"the repository {each.name}", place))
        for reference in _references_of(each):
            places += [(f"the secret file {path}", path) for path in _files_of(reference)]
    for what, place in places:
        if is_within(place, folder):
            yield f"{what} is inside the data directory, and would be lost together with it"
    local = [place for each in known.settings.repositories if (place := _folder_of(each))]
    devices = {device for place in local if (device := _device(place)) is not None}
    if len(local) == len(known.settings.repositories) > 0 and devices == {_device(folder)}:
        yield "every repository is on the disk of the data directory: when that disk dies, so do all snapshots"


def _what_a_scheduler_lacks(known: Checked, environ: Mapping[str, str]) -> Iterator[str]:
    lacks = "cron and systemd do not set it"
    for variable in dict.fromkeys(variables_of(known.data_as_written)):
        if variable.name in _OF_A_SCHEDULER:
            continue
        if variable.default is None:
            yield f"the variable {variable.name} is needed, and {lacks}: write the value out, or set it there as well"
        elif environ.get(variable.name) not in (None, "", variable.default):
            yield f"the variable {variable.name} is set here and {lacks}: there, its default counts"
    for reference in _references(known):
        match reference:
            case EnvironmentSecret(variable=name):
                yield f"a secret is in the variable {name}, and {lacks}: put it into a file, or set it there as well"
            case KeyringSecret(service=service):
                yield f"a secret is in the keyring ({service}), which opens with a person's session only"
    for name, decides in _OUR_VARIABLES.items():
        if environ.get(name) and _depends_on(name, known):
            yield f"the variable {name} says here {decides}, and {lacks}"


def _depends_on(name: str, known: Checked) -> bool:
    if name == "DOCKER_HOST":
        return bool(known.settings.instance and known.settings.instance.container)
    return "state_dir" not in known.data and os.geteuid() != 0


def _who_may_read(known: Checked, environ: Mapping[str, str]) -> Iterator[str]:
    file = known.settings.path
    references = list(_references(known))
    if file and any(isinstance(each, GivenSecret) for each in references) and file.stat().st_mode & 0o077:
        yield f"{file} holds a secret, and others may read it; chmod 600 {file}"
    files = [path for each in references for path in _files_of(each)]
    for path in dict.fromkeys(files):
        trouble = _trouble_with(path)
        if trouble:
            yield f"the secret file {path} {trouble}"
    for reference in references:
        yield from secret_source(reference, environ).warnings()
    for folder in dict.fromkeys(path.parent for path in (*([file] if file else []), *files)):
        if _is_open(folder):
            yield f"others may write to {folder}, and replace what lies there; chmod go-w {folder}"


def _which_programs(known: Checked, environ: Mapping[str, str]) -> Iterator[str]:
    for each in known.settings.repositories:
        program = program_of(each)
        if not shutil.which(program, path=environ.get("PATH", os.defpath)):
            yield f"the program {program} of {each.name} is not installed here, or not in PATH"


def program_of(repository: RepositorySettings) -> str:
    """The program that a repository is worked on with: of borg that which our own Python has, where it has one."""
    name = repository.program or repository.engine.value
    if repository.engine is EngineName.BORG:
        from owui_vault.engines.borg.program import find_program  # noqa: PLC0415  of borg alone

        return find_program(name)[0]
    return name


#: Each looks at one thing. A further one is a line here.
CHECKS: tuple[Check, ...] = (
    _what_is_missing,
    _what_would_be_lost,
    _who_would_notice,
    _what_a_scheduler_lacks,
    _who_may_read,
    _which_programs,
)


def _references(known: Checked) -> Iterator[SecretReference]:
    """Each secret's source, and those of the keys that open sealed files."""
    settings = known.settings
    for repository in settings.repositories:
        yield from _references_of(repository)
    instance = settings.instance
    for each in (instance.secret_key, instance.database_url) if instance else ():
        if each:
            yield from _with_unlock(each)
    told = (*settings.notifications, *settings.plan_heartbeats.values(), settings.heartbeat)
    for part in told:
        if part:
            yield from _with_unlock(part.url)


def _references_of(repository: RepositorySettings) -> Iterator[SecretReference]:
    for each in (repository.passphrase, *repository.environment.values()):
        yield from _with_unlock(each)


def _with_unlock(reference: SecretReference) -> Iterator[SecretReference]:
    yield reference
    if isinstance(reference, SealedSecret):
        yield from _with_unlock(reference.unlock)


def _files_of(reference: SecretReference) -> Iterator[Path]:
    if isinstance(reference, FileSecret | SealedSecret):
        yield reference.path


def _folder_of(repository: RepositorySettings) -> Path | None:
    place = path_of(repository.location)
    return place if place.is_absolute() else None


def _is_there(path: Path) -> bool:
    try:
        path.lstat()
    except OSError:
        return False
    return True


def _device(path: Path) -> int | None:
    """The file system that a path is on, or will be."""
    for each in (path, *path.parents):
        try:
            return each.stat().st_dev
        except OSError:
            continue
    return None


def _trouble_with(path: Path) -> str:
    try:
        status = path.stat()
    except FileNotFoundError:
        return "does not exist"
    except OSError as error:
        return f"cannot be seen by this user: {error.strerror}"
    if not stat.S_ISREG(status.st_mode):
        return "is no regular file"
    if not status.st_size:
        return "is empty"
    return "" if os.access(path, os.R_OK) else "cannot be read by this user"


def _is_open(folder: Path) -> bool:
    """Whether others may exchange files in it; in a sticky one each may touch his own only."""
    try:
        mode = folder.stat().st_mode
    except OSError:
        return False
    return bool(mode & 0o022) and not mode & stat.S_ISVTX
