"""Draw README's picture of a report: the top of a run's page, as Chromium shows it.

    latentbit run-all -c configs/digits.toml
    python tools/draw_report.py runs/digits [PICTURE.png]

Needs Chromium (Debian's package chromium) and Pillow.
"""

import argparse
import shutil
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "report.png"
WIDTH, HEIGHT, SCALE = 1200, 1058, 1.5
"""Of the window, in pixels of the page, and how many pixels of the picture each of them is."""
COLOURS = 128


def draw(page: Path, picture: Path) -> None:
    """Write the top of a page in its light theme, in few colours: a small file that is sharp on any screen."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("there is no Chromium: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "shot.png"
        flags = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars")
        sizes = (f"--window-size={WIDTH},{HEIGHT}", f"--force-device-scale-factor={SCALE}")
        profile = f"--user-data-dir={folder}/profile"
        subprocess.run(
            [chromium, *flags, *sizes, profile, f"--screenshot={shot}", page.resolve().as_uri()],
            check=True,
            capture_output=True,
            timeout=120,
        )
        with Image.open(shot) as shown:
            shown.convert("RGB").quantize(COLOURS).save(picture, optimize=True)
    print(f"{picture}: {picture.stat().st_size / 1024:.0f} KiB")


def main() -> None:
    """Draw the run that is named."""
    parser = argparse.ArgumentParser(description="Draw README's picture of a report.")
    parser.add_argument("run", type=Path, help="run directory with a report.html")
    parser.add_argument("picture", type=Path, nargs="?", default=PICTURE)
    options = parser.parse_args()
    draw(options.run / "report.html", options.picture)


if __name__ == "__main__":
    main()
