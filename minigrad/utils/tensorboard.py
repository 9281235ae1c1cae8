"""``SummaryWriter`` of ``torch.utils.tensorboard``, writing the scalars to a CSV file that any program can read."""

from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import Any


class SummaryWriter:
    """Writes tag, step, value and seconds to ``scalars.csv`` in log_dir; pictures and histograms are passed over."""

    def __init__(self, log_dir: str | Path | None = None, comment: str = "", **_: Any) -> None:
        self.log_dir = str(log_dir or Path("runs") / (time.strftime("%Y-%m-%d_%H-%M-%S") + comment))
        self._rows: list[tuple[Any, ...]] = []
        self._said = False

    def add_scalar(self, tag: str, scalar_value: Any, global_step: int | None = None, *_: Any, **__: Any) -> None:
        if not self._said:
            print(f"SummaryWriter: TensorBoard is not here, scalars go to {Path(self.log_dir) / 'scalars.csv'}")
            self._said = True
        self._rows.append((tag, global_step, float(scalar_value), round(time.time(), 3)))

    def add_scalars(self, main_tag: str, tag_scalar_dict: dict[str, Any], global_step: int | None = None) -> None:
        for tag, value in tag_scalar_dict.items():
            self.add_scalar(f"{main_tag}/{tag}", value, global_step)

    def _pass_over(self, *_: Any, **__: Any) -> None:
        """Accepted, and not written."""

    add_histogram = add_image = add_images = add_figure = add_graph = add_text = add_hparams = _pass_over
    add_embedding = add_audio = add_pr_curve = _pass_over

    def flush(self) -> None:
        """Append what has come since the last time to the file."""
        if not self._rows:
            return
        path = Path(self.log_dir) / "scalars.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = not path.exists()
        with open(path, "a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            if fresh:
                writer.writerow(("tag", "step", "value", "time"))
            writer.writerows(self._rows)
        self._rows.clear()

    def close(self) -> None:
        self.flush()

    def __enter__(self) -> SummaryWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
