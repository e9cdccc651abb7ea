"""Draw the docs' picture of a packed model in Netron: the page that Netron serves, as Chromium shows it.

    pip install netron
    python tools/draw_netron.py [MODEL.onnx] [PICTURE.png]

A copy of Netron's page is served to a browser that reaches nothing else. The first binary layer is selected. Needs
Chromium (Debian's package chromium) and Pillow.
"""

import argparse
import functools
import http.server
import importlib.metadata
import importlib.util
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[1]
MODEL, PICTURE = ROOT / "runtime" / "zoo" / "digits.onnx", ROOT / "docs" / "images" / "netron.png"
WIDTH, HEIGHT, SCALE = 1000, 720, 1.5
"""Of the window, in pixels of the page, and how many pixels of the picture each of them is."""
COLOURS = 48
CHOOSE = """
const chosen = setInterval(() => {
  const items = [...document.querySelectorAll(".node-item")];
  const item = items.find((one) => one.querySelector("text").textContent === "OPERATOR");
  if (!item || !document.body.classList.contains("default")) return;
  clearInterval(chosen);
  item.dispatchEvent(new MouseEvent("click", { bubbles: true }));
}, 500);
"""
FRAME = """<body style="margin:0">
<iframe src="/index.html" style="width:100vw;height:100vh;border:0"></iframe><img src="/wait" hidden>"""
WAIT = 15
"""Seconds until the image of the frame fails to come, and with it the page is loaded: Netron has drawn by then."""


class Page(http.server.SimpleHTTPRequestHandler):
    """Files of a folder, and the cookie with which Netron does not ask about its statistics."""

    def do_GET(self) -> None:
        """Send a file, and an answer to ``/wait`` late."""
        if self.path == "/wait":
            time.sleep(WAIT)
        super().do_GET()

    def end_headers(self) -> None:
        """Send the cookie too."""
        self.send_header("Set-Cookie", "consent=1")
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def prepare(folder: Path, model: Path, operator: str) -> None:
    """Write Netron's page into a folder, with the model as its file, and a script that selects an operator."""
    found = importlib.util.find_spec("netron")
    if found is None or found.origin is None:
        raise SystemExit("there is no Netron: pip install netron")
    shutil.copytree(Path(found.origin).parent, folder, dirs_exist_ok=True)
    shutil.copy(model, folder / model.name)
    view = folder / "view.js"  # brackets that many a font lacks
    view.write_text(view.read_text(encoding="utf-8").replace("\\u3008", "‹").replace("\\u3009", "›"), encoding="utf-8")
    (folder / "frame.html").write_text(FRAME, encoding="utf-8")
    index = folder / "index.html"
    head = f'<meta name="version" content="{importlib.metadata.version("netron")}">'
    head += f'<meta name="file" content="/{model.name}"><meta name="name" content="{model.name}">'
    (folder / "choose.js").write_text(CHOOSE.replace("OPERATOR", operator), encoding="utf-8")  # Netron runs files alone
    text = index.read_text(encoding="utf-8").replace("</head>", '<script src="/choose.js"></script></head>', 1)
    begin, end = text.index('<meta name="version"'), text.index(">", text.index('<meta name="version"')) + 1
    index.write_text(text[:begin] + head + text[end:], encoding="utf-8")


def draw(model: Path, picture: Path, operator: str) -> None:
    """Write what Netron shows of a model, in few colours: a small file that is sharp on any screen."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("there is no Chromium: apt-get install chromium")
    with tempfile.TemporaryDirectory() as place:
        folder, shot = Path(place) / "page", Path(place) / "shot.png"
        prepare(folder, model, operator)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Page, directory=str(folder)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"]
        flags += [f"--window-size={WIDTH},{HEIGHT}", f"--force-device-scale-factor={SCALE}"]
        flags += [f"--user-data-dir={place}/profile", f"--screenshot={shot}"]
        flags += ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
        address = f"http://127.0.0.1:{server.server_port}/frame.html"
        subprocess.run([chromium, *flags, address], check=True, capture_output=True, timeout=120)
        server.shutdown()
        with Image.open(shot) as shown:
            shown.convert("RGB").quantize(COLOURS).save(picture, optimize=True)
    print(f"{picture}: {picture.stat().st_size / 1024:.0f} KiB")


def main() -> None:
    """Draw the model that is named."""
    parser = argparse.ArgumentParser(description="Draw the docs' picture of a packed model in Netron.")
    parser.add_argument("model", type=Path, nargs="?", default=MODEL)
    parser.add_argument("picture", type=Path, nargs="?", default=PICTURE)
    parser.add_argument("--operator", default="BinaryConv2d", help="select the first node of this name")
    options = parser.parse_args()
    draw(options.model, options.picture, options.operator)


if __name__ == "__main__":
    main()
