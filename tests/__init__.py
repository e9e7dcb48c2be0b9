"""Tests: no setting of the machine is theirs, nor read by what they import."""

import os

for name in [name for name in os.environ if name.startswith("AIOS_")]:
    del os.environ[name]
