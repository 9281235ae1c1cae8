"""One readable file per model, written with minigrad's public API alone."""
