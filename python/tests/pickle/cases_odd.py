"""What classes, functions and values can be made of beyond the usual: each case was found by asking what could go wrong."""

from __future__ import annotations

import sys

from fresh import Case

CASES: dict[str, Case] = {}
