"""Describes a captured instant: the manifest, RESTORE.txt and what is kept outside the data directory.

After this the stage is the whole tree of a snapshot, and its outcome is decided.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from owui_vault.components.database.upload_paths import called_here
from owui_vault.components.names import ENVIRONMENT_NAME, KEY_NAME, OLLAMA, OUTSIDE
from owui_vault.components.ollama.copy import KeptModels, keep_models
from owui_vault.components.ollama.models import find_models, models_folder
from owui_vault.components.providers import PROVIDERS
from owui_vault.components.sqlite_files import library_version
from owui_vault.context.context import DataDirectory, OperationContext
from owui_vault.errors import CaptureError, NoSpaceError
from owui_vault.instance.container.nested_mounts import missed_mounts
from owui_vault.instance.layout import component_outside
from owui_vault.instance.runtime import RuntimeEnvironment
from owui_vault.instance.secret_key import better_text, unopened_text
from owui_vault.manifest.application_facts import StageFacts, read_stage
from owui_vault.manifest.attribute_records import attribute_records
from owui_vault.manifest.documents import (
    COMPOSE_NAME,
    CONFIG_NAME,
    CONTAINER_NAME,
    MANIFEST_NAME,
    RESTORE_TEXT_NAME,
    manifest_to_bytes,
)
from owui_vault.manifest.excluded_sizes import excluded_sizes
from owui_vault.manifest.inventory import component_records, from_inventory, from_outside
from owui_vault.manifest.restore_text import Restored, restore_text
from owui_vault.model import (
    ENCRYPTED,
    ApplicationRecord,
    Captured,
    CapturePlan,
    Component,
    ComponentRecord,
    ContainerRecord,
    LeftOut,
    Manifest,
    OllamaModels,
    Outcome,
    Secret,
    SecretKeyRecord,
)
from owui_vault.operations.full_checks import earlier_damage
from owui_vault.secrets.application_key import try_key
from owui_vault.system.durable_files import private_directory, write_durably
from owui_vault.system.filesystem import is_full
from owui_vault.system.work_folder import Folder
from owui_vault.version import VERSION

_CORE_TABLES = frozenset({"auth", "chat", "user"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotIdentity:
    """What the series says about a new snapshot."""

    id: str
    sequence: int
    tags: tuple[str, ...]
    plan: str = ""


def build_manifest(
    context: OperationContext,
    plan: CapturePlan,
    captured: Captured,
    environment: RuntimeEnvironment,
    naming: SnapshotIdentity,
) -> Manifest:
    """Complete the tree in the stage and answer its manifest. The outcome is decided here, before any engine runs."""
    facts = read_stage(captured.stage / "data")
    trial = try_key(facts.database.sealed_values, environment.candidates, environment.settings)
    key = environment.key_record(trial)
    write_outside(captured.stage, context.config_file, environment, trial.key)
    ollama = _keep_ollama(context.the_instance(), captured.stage / OUTSIDE)
    problems = (
        *captured.problems,
        *missed_mounts(plan, environment.container.nested if environment.container else ()),
        *_key_problems(key),
        *ollama.problems,
        *_content_problems(captured, facts),
    )
    application = _application(plan.data_dir, facts, environment)
    components = tuple(_components(captured, application))
    manifest = Manifest(
        id=naming.id,
        instance=context.the_instance().name,
        fingerprint=facts.database.fingerprint,
        instant=captured.instant,
        sequence=naming.sequence,
        outcome=Outcome.INCOMPLETE if problems else Outcome.COMPLETE,
        problems=problems,
        warnings=(
            *earlier_damage(context, captured.databases).values(),
            *captured.warnings,
            *environment.warnings,
            *environment.neighbour_warnings(facts.database),
            *_unreadable_warnings(context.config_file, environment),
            *([better] if (better := better_text(environment.keys, trial.chosen)) else []),
            *_key_warnings(key, captured),
        ),
        tags=naming.tags,
        proof=captured.proof,
        application=application,
        databases=captured.databases,
        components=components,
        vector_files=captured.vector_files,
        collections=captured.findings.collections,
        left_out=(*excluded_sizes(plan), *_skipped(captured)),
        secret_key=key,
        ollama=ollama.models,
        scheduled=facts.scheduled,
        attributes=attribute_records(captured.inventory),
        ledger=context.state.ledger(context.the_instance().name),
        created_by=f"owui_vault {VERSION}",
        plan=naming.plan,
        users=facts.database.tables.get("user"),
        chats=facts.database.tables.get("chat"),
        uploads=next((each.files for each in components if each.name is Component.UPLOADS), 0),
        sqlite=library_version(),
    )
    return _written(captured.stage, manifest)


def _written(stage: Path, manifest: Manifest) -> Manifest:
    write_durably(stage / RESTORE_TEXT_NAME, restore_text(manifest, Restored.of(stage)).encode(), mode=0o644)
    write_durably(stage / MANIFEST_NAME, manifest_to_bytes(manifest), mode=0o644)
    return manifest


@contextmanager
def stage_errors(work: Folder) -> Iterator[None]:
    """Raise NoSpaceError, or CaptureError, where the stage cannot be completed, or something else is in the way."""
    try:
        yield
    except OSError as error:
        place = os.fspath(error.filename or work.path).replace(os.fspath(work.path), os.fspath(work.shown))
        told = f"the snapshot could not be described: {place}: {error.strerror}"
        if is_full(error):
            raise NoSpaceError(told, hint="Free some space there, then try again.") from error
        raise CaptureError(told, hint="Nothing was stored. Check that file and its disk.") from error


def _components(captured: Captured, application: ApplicationRecord) -> Iterator[ComponentRecord]:
    schemas = {each.name: each.schema(application) for each in PROVIDERS}
    for record in component_records(from_inventory(captured.inventory)):
        yield replace(record, schema=schemas.get(record.name, ""))
    yield from component_records(from_outside(captured.stage / OUTSIDE), component_outside)


def _content_problems(captured: Captured, facts: StageFacts) -> tuple[str, ...]:
    """An empty database passes every check of SQLite's."""
    if (
        captured.problems
        or any(each.check == ENCRYPTED for each in captured.databases)
        or set(facts.database.tables) >= _CORE_TABLES
    ):
        return ()
    return (f"webui.db holds none of Open WebUI's tables ({', '.join(sorted(_CORE_TABLES))})",)


def _key_problems(key: SecretKeyRecord) -> Iterator[str]:
    if key.needed_because and not key.found:
        yield f"the secret key was not found, and without it these cannot be opened: {', '.join(key.needed_because)}"
    if wrong := unopened_text(key):
        yield wrong


def _key_warnings(key: SecretKeyRecord, captured: Captured) -> Iterator[str]:
    if not key.found:
        yield (
            "the secret key (WEBUI_SECRET_KEY) was not found and is not in the snapshot: after a restore everybody has"
            " to sign in again; set instance.secret_key to say where it is"
        )
    if wrong := unopened_text(key):
        yield f"{wrong}; set instance.secret_key to say where the right one is"
    if captured.skipped:
        yield f"{len(captured.skipped)} sockets, pipes or devices were skipped: {', '.join(captured.skipped[:3])}"


def _application(data_dir: Path, facts: StageFacts, environment: RuntimeEnvironment) -> ApplicationRecord:
    seen = facts.database.app_data_dir or environment.app_data_dir or os.fspath(data_dir)
    container = environment.container.record if environment.container else None
    return ApplicationRecord(
        version=environment.version,
        alembic_head=facts.database.alembic_head,
        chroma_migration=facts.chroma_migration,
        image=container.image if container else "",
        image_digest=(container.digest or container.image_id) if container else "",
        data_dir=seen,
        data_dir_here=called_here(data_dir, seen),
        sqlite=environment.sqlite,
    )


def _skipped(captured: Captured) -> Iterator[LeftOut]:
    for name in captured.skipped:
        yield LeftOut(path=name, reason="a socket, pipe or device")


def write_outside(stage: Path, config_file: Path | None, environment: RuntimeEnvironment, key: Secret | None) -> None:
    """Put what the instance needs and its data directory does not hold below `outside/`, readable by us alone."""
    folder = private_directory(stage / OUTSIDE)
    if key:
        write_durably(folder / KEY_NAME, key.reveal().encode(errors="surrogateescape"))
    if environment.settings:
        lines = "".join(f"{name}={value}\n" for name, value in sorted(environment.settings.items()))
        write_durably(folder / ENVIRONMENT_NAME, lines.encode(errors="surrogateescape"))
    if environment.container:
        write_durably(folder / CONTAINER_NAME, environment.container.inspected.encode(errors="surrogateescape"))
    for name, path in _files_around(config_file, environment):
        try:
            content = path.read_bytes()
        except OSError:
            continue  # `_unreadable_warnings` tells of it
        write_durably(folder / name, content)


def compose_files(record: ContainerRecord) -> Iterator[tuple[str, Path]]:
    """The files a Compose service was made of, each with its name below `outside/`."""
    if record.compose is None:
        return
    for number, path in enumerate(record.compose.files, 1):
        yield (COMPOSE_NAME if number == 1 else f"compose-{number}.yaml"), path
    settings = record.compose.working_dir / ".env"
    if os.path.isfile(settings):  # noqa: PTH113  False where its folder may not be looked into
        yield "compose.env", settings


def _files_around(config_file: Path | None, environment: RuntimeEnvironment) -> Iterator[tuple[str, Path]]:
    """Files of others that belong to a snapshot, each with its name below `outside/`."""
    if config_file and os.path.lexists(config_file):
        yield CONFIG_NAME, config_file
    yield from compose_files(environment.container.record) if environment.container else ()


def _unreadable_warnings(config_file: Path | None, environment: RuntimeEnvironment) -> Iterator[str]:
    for name, path in _files_around(config_file, environment):
        if not (os.path.isfile(path) and os.access(path, os.R_OK)):  # noqa: PTH113  never raises
            what = "configuration" if name == CONFIG_NAME else "Compose file"
            yield f"the {what} {path} cannot be read here and is not in the snapshot"


def _keep_ollama(instance: DataDirectory, outside: Path) -> KeptModels:
    """Put what is configured below `outside`, in the stage. What cannot be obtained is a problem, never an error.

    Ollama is another program: its models belong to no moment of the instance's, and do not change once they are there.
    """
    if instance.ollama is OllamaModels.OFF:
        return KeptModels()
    if instance.ollama_dir is None:
        return KeptModels(problems=("Ollama's models were not found: set instance.ollama_dir to where they are",))
    try:
        folder = models_folder(instance.ollama_dir)
        models = find_models(folder) if folder else ()
    except OSError as error:
        return KeptModels(problems=(f"Ollama's models in {instance.ollama_dir} cannot be read: {error.strerror}",))
    if folder is None:
        return KeptModels(problems=(f"{instance.ollama_dir} does not hold Ollama's models (there is no `manifests`)",))
    return keep_models(folder, models, outside / OLLAMA, with_blobs=instance.ollama is OllamaModels.BLOBS)
