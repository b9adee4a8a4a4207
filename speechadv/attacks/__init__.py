"""Attacks: each file registers its own; `create("attack", name, **keywords)` makes one."""
