"""Where a secret is, as `vault.yaml` says it, and what every part of that file is made of. Needs pydantic."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
    model_validator,
)

from owui_vault.config import values
from owui_vault.model import Secret
from owui_vault.model.secrets import (
    CommandSecret,
    CredentialSecret,
    EnvironmentSecret,
    FileSecret,
    GivenSecret,
    KeyringSecret,
    SealedSecret,
    SecretReference,
)


def in_context(check: Callable[[object, values.ConfigContext], object]) -> BeforeValidator:
    """A check that needs to know what relative paths and `~` mean."""

    def validate(value: object, info: ValidationInfo[values.ConfigContext]) -> object:
        return check(value, info.context)

    return BeforeValidator(validate)


def form(pattern: str, **more: Any) -> WithJsonSchema:
    """Text of this form, for the schema."""
    return WithJsonSchema({"type": "string", "pattern": f"^{pattern}$", **more})


def _variable(value: object) -> str:
    return values.matching(value, values.VARIABLE_PATTERN, "must be the name of an environment variable")


def _credential(value: object) -> str:
    return values.matching(value, values.CREDENTIAL_PATTERN, "must be the name of a file, without a folder")


Text = Annotated[str, BeforeValidator(values.text)]
PathText = Annotated[Path, in_context(values.path), WithJsonSchema({"type": "string", "minLength": 1})]
Argv = Annotated[
    tuple[str, ...],
    in_context(values.argv),
    WithJsonSchema({"type": "array", "items": {"type": "string"}, "minItems": 1}),
]
VariableName = Annotated[str, BeforeValidator(_variable), form(values.VARIABLE_PATTERN)]


class Part(BaseModel):
    """A mapping in which every key is known.

    Every command pays for these classes. What stands below a key is for the schema, which reads it itself; and a part
    is built once it is asked for, with all of its own parts.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class SecretPart(Part):
    """Where a secret is: exactly one of file, env, command, credential, keyring and sealed."""

    file: PathText | None = None
    """A file that holds nothing else, readable by nobody else."""
    env: VariableName | None = None
    """An environment variable."""
    command: Argv | None = None
    """A program that prints it, as a list."""
    credential: Annotated[str, BeforeValidator(_credential), form(values.CREDENTIAL_PATTERN)] | None = None
    """A name in systemd's or a container's folder of secrets."""
    keyring: Text | None = None
    """A service in the desktop's keyring (extra `keyring`); `username` goes with it."""
    username: Text | None = None
    """The user name in the keyring."""
    sealed: PathText | None = None
    """A sealed file; `name` and `unlock` go with it."""
    name: Text | None = None
    """The name of the secret in the sealed file."""
    unlock: SecretPart | None = None
    """Where the key of the sealed file is."""

    _given: Secret | None = PrivateAttr(None)

    @model_validator(mode="after")
    def _one_source(self) -> SecretPart:
        named = [key for key in SOURCES if getattr(self, key) is not None]
        if len(named) != 1:
            raise ValueError(f"must name exactly one of {', '.join(SOURCES)}")
        for source, companions in COMPANIONS.items():
            for companion in companions:
                present = getattr(self, companion) is not None
                if present and named[0] != source:
                    raise ValueError(f"has '{companion}', which goes with '{source}' only")
                if not present and named[0] == source:
                    raise ValueError(f"needs '{companion}' beside '{source}'")
        return self

    @property
    def given(self) -> Secret | None:
        """The secret itself, where it was written out."""
        return self._given


SOURCES = ("file", "env", "command", "credential", "keyring", "sealed")
COMPANIONS = {"keyring": ("username",), "sealed": ("name", "unlock")}


def _no_plain_text(value: object, handler: ValidatorFunctionWrapHandler) -> object:
    if isinstance(value, str):
        raise ValueError("must not be written into this file; say where it is: {file: PATH}, {env: NAME}, …")
    return handler(value)


def _or_plain_text(value: object, handler: ValidatorFunctionWrapHandler) -> object:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return handler(value)
    if "\0" in str(value):
        raise ValueError("must not contain a NUL character")
    part = SecretPart.model_construct()
    part._given = Secret(str(value))
    return part


def _or_file_name(value: object, handler: ValidatorFunctionWrapHandler) -> object:
    return handler({"file": value} if isinstance(value, str) else value)


OTHER_FORM = "x-other-form"  # and another mapping that may stand there
SHORT_FORM = "x-short-form"  # replaced in the schema by what may stand in place of the mapping
Passphrase = Annotated[SecretPart, WrapValidator(_no_plain_text)]
Value = Annotated[
    SecretPart, WrapValidator(_or_plain_text), Field(json_schema_extra={SHORT_FORM: ["string", "integer"]})
]
KeyFile = Annotated[SecretPart, WrapValidator(_or_file_name), Field(json_schema_extra={SHORT_FORM: "string"})]


def reference_of(part: SecretPart) -> SecretReference:
    """Where the secret is, as a value."""
    reference: SecretReference
    if part.given is not None:
        reference = GivenSecret(secret=part.given)
    elif part.file is not None:
        reference = FileSecret(path=part.file)
    elif part.env is not None:
        reference = EnvironmentSecret(variable=part.env)
    elif part.command is not None:
        reference = CommandSecret(argv=part.command)
    elif part.credential is not None:
        reference = CredentialSecret(name=part.credential)
    elif part.keyring is not None and part.username is not None:
        reference = KeyringSecret(service=part.keyring, username=part.username)
    elif part.sealed is not None and part.name is not None and part.unlock is not None:
        reference = SealedSecret(path=part.sealed, name=part.name, unlock=reference_of(part.unlock))
    else:
        raise TypeError("a secret without a source was let through")
    return reference
