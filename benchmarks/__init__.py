"""Measurements to run by hand, each a module: ``python -m benchmarks.attention``. Nothing else imports them."""
