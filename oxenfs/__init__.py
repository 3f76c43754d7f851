"""Mount any branch or commit of an Oxen repository as a directory."""

__version__ = "0.1.0"
