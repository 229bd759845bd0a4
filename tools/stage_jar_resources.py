"""Stages what the bridge jar carries: the native libraries and the Python package, with a manifest of hashes."""

from __future__ import annotations

import argparse
import hashlib
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESOURCES = ROOT / "jvm" / "build" / "staged" / "org" / "rudf" / "native"


def files_of_the_jar(libraries: Path) -> dict[str, Path]:
    """Path in the jar, and file, of everything that an executor unpacks."""
    package = ROOT / "python" / "rudf"
    sources = {
        f"python/rudf/{path.relative_to(package)}": path
        for path in sorted(package.rglob("*"))
        if path.suffix in {".py", ".pyi", ".typed"} or path.name == "py.typed"
    }
    return {
        "librudf_jvm.so": libraries / "librudf_jvm.so",
        "python/rudf/_native.abi3.so": libraries / "lib_native.so",
        **sources,
    }


def main() -> None:
    """Copy the files and write ``MANIFEST`` in the form of sha256sum."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("libraries", type=Path, help="directory with librudf_jvm.so and lib_native.so")
    libraries: Path = parser.parse_args().libraries
    shutil.rmtree(RESOURCES, ignore_errors=True)
    lines = []
    for name, source in files_of_the_jar(libraries).items():
        target = RESOURCES / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        lines.append(f"{hashlib.sha256(target.read_bytes()).hexdigest()}  {name}\n")
    (RESOURCES / "MANIFEST").write_text("".join(lines))


if __name__ == "__main__":
    main()
