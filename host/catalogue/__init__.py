"""The catalogue: an index over store and custody log. It holds no truth of its own and can be rebuilt."""

from host.catalogue.catalogue import (
    Catalogue,
    CatalogueDamagedError,
    CatalogueError,
    CatalogueLockedError,
)
from host.catalogue.index import CatalogueIndex
from host.catalogue.migrations import MigrationError, migrate
from host.catalogue.rebuild import rebuild
from host.catalogue.rows import CameraRow, ClipRow, OffloadRow, SessionRow

__all__ = [
    "CameraRow",
    "Catalogue",
    "CatalogueDamagedError",
    "CatalogueError",
    "CatalogueIndex",
    "CatalogueLockedError",
    "ClipRow",
    "MigrationError",
    "OffloadRow",
    "SessionRow",
    "migrate",
    "rebuild",
]
