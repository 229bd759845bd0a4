"""Prints the shared library of the Python that runs this; exits with 1 where there is none."""

from __future__ import annotations

import ctypes
import os
import sys
import sysconfig


def find() -> str | None:
    """Return a path, or a name that the system's search finds."""
    variable = sysconfig.get_config_var
    names = [name for name in (variable("INSTSONAME"), variable("LDLIBRARY")) if name and ".so" in name]
    if not names:
        names = ["libpython{}.{}.so.1.0".format(*sys.version_info)]
    libdir, multiarch = variable("LIBDIR") or "", variable("MULTIARCH") or ""
    for folder in (libdir, os.path.join(libdir, multiarch), os.path.join(sys.base_prefix, "lib")):
        for name in names:
            if os.path.isfile(os.path.join(folder, name)):
                return os.path.join(folder, name)
    for name in names:
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
        return name
    return None


if __name__ == "__main__":
    found = find()
    if found is None:
        sys.exit(1)
    sys.stdout.write(found + "\n")
