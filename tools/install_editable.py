"""Makes this checkout's package importable in the virtual environment that runs this, with its command `rudf`."""

import sys
import sysconfig
from pathlib import Path

PACKAGE_ROOT = Path(__file__).resolve().parent.parent / "python"
SCRIPT = f"""#!{sys.executable}
import sys
from rudf.cli import main
sys.exit(main())
"""

Path(sysconfig.get_path("purelib"), "rudf.pth").write_text(f"{PACKAGE_ROOT}\n")
command = Path(sysconfig.get_path("scripts"), "rudf")
command.write_text(SCRIPT)
command.chmod(0o755)
