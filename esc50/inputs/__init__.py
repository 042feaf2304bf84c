"""The recordings that the user names (files, folders, patterns, manifests), as one list."""

from typing import TYPE_CHECKING

from ...kernels.lazy import lazily

if TYPE_CHECKING:
    from .find import STDIN, check, resolve
    from .folders import CONTAINERS, left_out
    from .listing import LINKED, RECORDING, UNUSABLE, Entry, Listing, name_of, shown, split_root
    from .manifests import TABLES, header_of, named, path_column, records
    from .naming import DIGEST, Digests, Keys, RealPaths, absolute, digest, digests_of, escaped, key_of, unescaped

__getattr__, __dir__, __all__ = lazily(__name__, __file__)
