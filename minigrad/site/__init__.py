"""A classroom in a folder: minigrad in a browser, without a server or an installation."""
