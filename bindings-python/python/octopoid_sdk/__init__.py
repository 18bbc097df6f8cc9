"""The import name that earlier versions had: everything here is `octopoid`'s."""

from octopoid import *  # noqa: F403
from octopoid import __all__ as __all__
from octopoid import __version__ as __version__
