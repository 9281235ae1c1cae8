"""What the exercises of each chapter are, with the known mistakes: plain data, one file per chapter."""
