"""Lookup of gfkeras' classes for saved models.

Keras finds the class that a saved model names only if its module was imported before. This
module adds the missing step: the first time that Keras is asked for an unknown `gfkeras>…`, all
packages with such classes are imported. Nothing is imported earlier, Keras included.
"""

from typing import Any

import wrapt

PREFIX = "gfkeras>"


# The hook runs once this module of Keras is imported, at once if it is already. Keras has no
# public place for it: `tests/test_registration.py` fails once Keras moves the function.
@wrapt.when_imported("keras.src.saving.object_registration")
def complete_lookup(object_registration: Any) -> None:
    """Makes Keras' lookup of registered classes import ours when it needs one."""

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
