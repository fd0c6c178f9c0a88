"""What users of restic, borg and borgmatic type, answered with our own words: said, never done."""

from __future__ import annotations

_TAKE = "Here it is `owui-vault snapshot`."
_LIST = "Here it is `owui-vault snapshots`."
_HOLDS = "`owui-vault show SNAPSHOT` says what a snapshot holds."
_CHECK = "Here it is `owui-vault verify`."
_REMOVE = "Here it is `owui-vault prune`, which removes what `keep` does not keep; `prune --dry-run` shows it first."
_EXTRACT = "Here it is `owui-vault restore SNAPSHOT --target DIR`."
_COPY = "Here it is `owui-vault replicate`; `replicate --dry-run` shows it first."
_MOUNT = "Nothing is mounted; `owui-vault restore SNAPSHOT --target DIR` writes a copy to look at."
_UNLOCK = "A lock that a dead run left is removed by itself; `owui-vault recover` cleans up on this machine."
_REWIND = "`owui-vault restore SNAPSHOT --in-place` replaces the live data, and shows what it would do first."
_INIT = "Here it is `owui-vault init`."
_INFO = "Here it is `owui-vault inspect` for the instance, and `owui-vault snapshots` for what is stored."
_HELP = "Here it is `owui-vault --help`."
_VERSION = "Here it is `owui-vault --version`."
_ENGINE = "Use the engine itself for that, restic or borg; `owui-vault snapshots` lists what is there."

OF_OTHER_TOOLS = {
    **dict.fromkeys(("backup", "create", "dump-all", "save"), _TAKE),
    **dict.fromkeys(("list", "rlist", "repo-list", "archives"), _LIST),
    **dict.fromkeys(("find", "stats", "diff"), _HOLDS),
    **dict.fromkeys(("check", "test", "validate"), _CHECK),
    **dict.fromkeys(("forget", "delete", "rdelete", "repo-delete", "compact", "purge", "clean"), _REMOVE),
    **dict.fromkeys(("extract", "export-tar", "copy-out"), _EXTRACT),
    **dict.fromkeys(("copy", "sync", "transfer"), _COPY),
    **dict.fromkeys(("mount", "umount", "unmount"), _MOUNT),
    **dict.fromkeys(("unlock", "break-lock"), _UNLOCK),
    **dict.fromkeys(("rewind", "rollback", "revert"), _REWIND),
    **dict.fromkeys(("rcreate", "repo-create", "bootstrap"), _INIT),
    **dict.fromkeys(("info", "rinfo", "repo-info"), _INFO),
    **dict.fromkeys(("help", "usage"), _HELP),
    "version": _VERSION,
    **dict.fromkeys(
        ("key", "passwd", "change-passphrase", "tag", "rewrite", "repair", "rebuild-index", "migrate", "cat", "cache"),
        _ENGINE,
    ),
}
