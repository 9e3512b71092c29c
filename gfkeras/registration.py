"""Lookup of gfkeras classes for saved models.

Keras finds the classes of a saved model only if their modules were imported before. This module
adds a hook: when Keras does not find a class `gfkeras>…`, all packages with such classes are
imported. Until then nothing is imported, not even Keras.
"""

from typing import Any

import wrapt

PREFIX = "gfkeras>"


# The hook runs when this module of Keras is imported, or now if it already is. Keras has no public
# API for it. If Keras moves the function, `tests/test_registration.py` fails.
@wrapt.when_imported("keras.src.saving.object_registration")
def complete_lookup(object_registration: Any) -> None:
    """Wraps the class lookup of Keras, to import gfkeras' classes when one is missing."""

    @wrapt.patch_function_wrapper(object_registration, "get_registered_object")
    def lookup(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        del instance
        found = wrapped(*args, **kwargs)
        name = args[0] if args else kwargs["name"]
        if found is None and isinstance(name, str) and name.startswith(PREFIX):
            _import_classes()
            found = wrapped(*args, **kwargs)
        return found


def _import_classes() -> None:
    from gfkeras import backbones, heads, layers, losses, models  # noqa: F401
    from gfkeras.training import optimizers, schedules  # noqa: F401
