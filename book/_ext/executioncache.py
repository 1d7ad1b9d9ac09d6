"""The execution cache of the book: a change of a caption or an alt text executes nothing.

myst-nb opens the folder with jupyter-cache's own class, and neither has a setting for the key under which a notebook is
filed: the code with all metadata of its cells. Captions are such metadata. Here a notebook that is not found under its
key is looked for by its code and tags, and filed again under the key that myst-nb will ask for. The runner looks for
every chapter before pages are made, so that myst-nb finds all of them.
"""

from __future__ import annotations

from typing import Any

from jupyter_cache.base import CacheBundleIn
from jupyter_cache.cache.db import NbCacheRecord
from jupyter_cache.cache.main import JupyterCacheBase

CODE = "code"  # where a record's data keep the hash of code and tags


class ExecutionCache(JupyterCacheBase):
    """jupyter-cache's cache, whose records are found again when only captions and alt texts have changed."""

    def cache_notebook_bundle(self, bundle: CacheBundleIn, **options: Any) -> NbCacheRecord:
        bundle.data[CODE] = self.code_hash(bundle.nb)
        return super().cache_notebook_bundle(bundle, **options)

    def match_cache_notebook(self, nb: Any) -> NbCacheRecord:
        try:
            return super().match_cache_notebook(nb)
        except KeyError:
            code = self.code_hash(nb)
            same = [record for record in self.list_cache_records() if record.data.get(CODE) == code]
            if not same:
                raise
            return self.file_again(same[0], nb)

    def code_hash(self, nb: Any) -> str:
        """The hash of what is executed: code and tags of the cells, and the kernel's name."""
        return self.create_hashed_notebook(nb, cell_metadata=("tags",))[1]

    def file_again(self, record: NbCacheRecord, nb: Any) -> NbCacheRecord:
        """Move the outputs of ``record`` to the key of ``nb``, which has the same code."""
        executed = self.get_cache_bundle(record.pk).nb
        code_cells = (cell for cell in nb.cells if cell.cell_type == "code")
        for cell, present in zip(executed.cells, code_cells, strict=True):
            cell.metadata = present.metadata
        self.remove_cache(record.pk)
        return self.cache_notebook_bundle(CacheBundleIn(executed, record.uri, data=record.data), check_validity=False)
