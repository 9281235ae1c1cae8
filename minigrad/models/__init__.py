"""The models: in a checkout their files are in the top-level ``models/``, in a wheel they are here."""

from pathlib import Path

_checkout = Path(__file__).parents[2] / "models"
if not (Path(__file__).parent / "gpt.py").exists() and (_checkout / "gpt.py").exists():
    __path__ = [str(_checkout)]
