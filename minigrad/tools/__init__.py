"""Small helpers that any room may use, and that use none: randomness, command lines, scripts, optional packages."""
