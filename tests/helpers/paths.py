"""Where the project lies: what tests start in processes of their own, and read, they find from here."""

from pathlib import Path

HELPERS = Path(__file__).resolve().parent
ROOT = HELPERS.parents[1]
