"""The scripts of local/ are run as programs: their folder is on the path, as it is then."""

import sys
from pathlib import Path

LOCAL = Path(__file__).resolve().parents[2] / "local"
sys.path.insert(0, str(LOCAL))
