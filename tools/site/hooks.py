"""What the site takes from outside of docs/: README as the home page, CONTRIBUTING and others, examples, source files.

MkDocs reads docs/ alone. Its pages link to files beside docs/ as they should on a disk (``../examples/x.py``). Here
each such file becomes a part of the site, at its own path, and the links follow. MkDocs then checks them like others.
"""

import json
import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "bench/README.md", "tests/conformance/README.md")
"""Pages from outside of docs/, at their own paths; README.md is the home page besides."""

LINK = re.compile(r"(\]\()([^)#\s]+)((?:#[^)\s]*)?\))")
CODE = re.compile(r"(^```.*?^```|^<!-- .*? -->$)", re.M | re.S)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what lies outside of docs/, and what it links to."""
    origins = {"index.md": "README.md", **{page: page for page in PAGES}}
    for uri, origin in origins.items():
        files.append(File.generated(config, uri, content=(ROOT / origin).read_text(encoding="utf-8")))
    for program in sorted((ROOT / "examples").glob("*.py")):
        files.append(File.generated(config, f"examples/{program.stem}.md", content=_program(program)))
    for notebook in sorted((ROOT / "examples").glob("*.ipynb")):
        files.append(File.generated(config, f"examples/{notebook.stem}.md", content=_notebook(notebook)))
    for page in files.documentation_pages():
        for _, target, _ in LINK.findall(CODE.sub("", page.content_string)):
            uri = _uri(page.src_uri, target)
            if uri and files.get_file_from_path(uri) is None:
                if uri.endswith("/index.md"):
                    listing = _folder(ROOT / "docs" / posixpath.dirname(uri))
                    files.append(File.generated(config, uri, content=listing, inclusion=InclusionLevel.NOT_IN_NAV))
                elif (ROOT / uri).is_file():
                    files.append(File.generated(config, uri, abs_src_path=str(ROOT / uri)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links between files of the checkout into links between pages of the site."""

    def link(found: re.Match[str]) -> str:
        uri = _uri(page.file.src_uri, found.group(2))
        if uri is None:
            return found.group(0)
        return found.group(1) + posixpath.relpath(uri, posixpath.dirname(page.file.src_uri) or ".") + found.group(3)

    return "".join(part if CODE.match(part) else LINK.sub(link, part) for part in CODE.split(markdown))


def _uri(page: str, target: str) -> str | None:
    """Return where on the site that lies which a page names by its place in the checkout; None for an address."""
    if re.match(r"\w+:", target):
        return None
    place = {"index.md": "README.md"}.get(page, page if (ROOT / page).exists() else f"docs/{page}")
    path = posixpath.normpath(posixpath.join(posixpath.dirname(place), target))
    if path == "README.md":
        return "index.md"
    if path.startswith("examples/"):
        return str(Path(path).with_suffix(".md"))
    if (ROOT / path).is_dir():
        return f"{path.removeprefix('docs/')}/index.md"
    return path.removeprefix("docs/") if (ROOT / path).is_file() else None  # MkDocs says what is missing


def _folder(folder: Path) -> str:
    """Return the page of a folder of docs/: the files that it holds."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return f"# {folder.name}/\n\n" + "".join(f"- [{name}]({name})\n" for name in names)


def _program(program: Path) -> str:
    """Return the page of an example: its first line as the heading, its code below."""
    code = program.read_text(encoding="utf-8")
    heading = re.match(r'"""(.+?)[.:?]', code)
    if heading is None:
        raise PluginError(f"{program}: its docstring says in the first line what it is about")
    return f"# {heading.group(1)}\n\n`examples/{program.name}`, as tests run it.\n\n```python\n{code}```\n"


def _notebook(notebook: Path) -> str:
    """Return a notebook as a page, with what its cells printed and drew when it was saved."""
    parts = []
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        text = "".join(cell["source"])
        parts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            shown = "".join(output.get("text", data.get("text/plain", ())))
            if "image/png" in data:
                parts.append(f"![What the cell drew](data:image/png;base64,{''.join(data['image/png'].split())})")
            elif shown.strip():
                parts.append(f"```text\n{shown.rstrip()}\n```")
    return "\n\n".join(parts) + "\n"
