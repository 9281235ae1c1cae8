"""What a training run needs: the loop, files, checkpoints, data."""
