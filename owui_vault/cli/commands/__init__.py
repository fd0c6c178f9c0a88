"""The commands: what each needs, its grammar, what it does. One file for each; `registry.py` lists them."""
