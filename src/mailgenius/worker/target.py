"""Finds what ``module:attribute`` names, and says clearly why it cannot."""

from __future__ import annotations

import importlib
import sys
import traceback
from typing import Any

from mailgenius.errors import ConfigError

__all__ = ["find", "split"]


def split(target: str) -> tuple[str, str]:
    """``myapp.jobs:worker`` -> module, attribute. Raises ``ConfigError``."""
    module, colon, attribute = target.partition(":")
    if not colon or not all(part.isidentifier() for part in f"{module}.{attribute}".split(".")):
        raise ConfigError(f"{target!r} is not module:attribute, such as myapp.jobs:worker")
    return module, attribute


def find(target: str, wanted: type, folder: str) -> Any:
    """The object, a ``wanted``; modules of ``folder`` come first. A call without arguments that gives one will do. Raises
    ``ConfigError``."""
    module, attribute = split(target)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not (module == error.name or module.startswith(error.name + ".")):
            raise ConfigError(_broken(module, error)) from error
        raise ConfigError(f"there is no module {error.name!r} in {folder}, nor among what is installed") from error
    except (Exception, SystemExit) as error:
        raise ConfigError(_broken(module, error)) from error
    names = [name for name, value in vars(found).items() if isinstance(value, wanted)]
    for name in attribute.split("."):
        if not hasattr(found, name):
            raise ConfigError(f"{module} has no attribute {attribute!r}; {_advice(module, names, wanted)}")
        found = getattr(found, name)
    if not isinstance(found, wanted) and callable(found) and not isinstance(found, type):
        try:
            found = found()
        except TypeError as error:
            raise ConfigError(f"{target} cannot be called without arguments: {error}") from error
    if not isinstance(found, wanted):
        raise ConfigError(f"{target} is {_article(found)}, not a {wanted.__name__}; {_advice(module, names, wanted)}")
    return found


def _advice(module: str, names: list[str], wanted: type) -> str:
    if not names:
        return f"no {wanted.__name__} is defined there"
    return "give " + " or ".join(f"{module}:{name}" for name in names)


def _article(value: object) -> str:
    name = type(value).__name__
    return "nothing (None)" if value is None else f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def _broken(module: str, error: BaseException) -> str:
    """The traceback from the module on: how it was imported is our business."""
    trace = error.__traceback__
    while trace is not None and _ours(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    lines = traceback.format_exception(type(error), error, trace)
    return f"{module} cannot be imported:\n{''.join(lines).rstrip()}"


def _ours(file: str) -> bool:
    return file == __file__ or file.startswith("<frozen importlib") or file == importlib.__file__
