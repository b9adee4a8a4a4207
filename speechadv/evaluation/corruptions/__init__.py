"""Everyday damage to sound, in five strengths each: noise, rooms, levels, lines, speed, codecs. One file a family, each entered in the registry."""
