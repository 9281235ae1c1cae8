"""The commands of ``python -m minigrad`` that look at a script."""
