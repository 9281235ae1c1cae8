"""The course: chapters to write yourself, and a judge that says what is wrong. ``python -m minigrad learn``."""
