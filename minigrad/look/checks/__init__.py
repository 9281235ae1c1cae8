"""Checks that explain: the gradient check with its diagnosis, and the search for NaN; ``autograd`` offers them."""
