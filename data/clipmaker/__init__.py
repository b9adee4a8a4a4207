"""Makes the clips that are bundled with speechadv: a developer's tool, no part of the package."""
