"""The names Open WebUI gives its files, relative to the data directory, and ours."""

DATABASE = "webui.db"
VECTOR_DATABASE = "vector_db/chroma.sqlite3"
UPLOADS = "uploads"
VECTORS = "vector_db"
WORK_DIR = ".owui-vault"

# In a snapshot's tree, beside `data/`.
OUTSIDE = "outside"
KEY_NAME = "webui_secret_key"
ENVIRONMENT_NAME = "environment"  # the settings it ran with, NAME=VALUE lines
HELD_NAME = "held.json"  # what `--quiet-start` switched off, and how it comes back
OLLAMA = "ollama"  # below OUTSIDE
