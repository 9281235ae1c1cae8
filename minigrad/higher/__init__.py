"""Derivatives of derivatives: an op's backward is a NumPy program; here it runs on arrays that record it."""
