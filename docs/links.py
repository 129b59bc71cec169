"""Links of the pages on the site: a hook of MkDocs, see mkdocs.yml.

A page may link to a file of the checkout that is no page, such as `../configs/demo.yaml`. In the checkout that link
leads to the file; the site has no such file, and shows its path.
"""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"(?<!!)\[([^]\n]*)\]\(([^)#:\s]+)\)")


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The text of a page, with the paths of files that the site has not in place of links to them.

    Args:
        markdown: the text as it stands in the file.
        page: whose text it is.
        config: of the site.
        files: of `docs/`, those that are left out of the site among them.
    """
    folder = Path(config.docs_dir, page.file.src_uri).parent
    on_site = {Path(file.abs_src_path or "") for file in files if file.inclusion is InclusionLevel.INCLUDED}

    def replaced(link: re.Match[str]) -> str:
        label, target = link[1], (folder / link[2]).resolve()
        if target in on_site or not (target.is_relative_to(ROOT) and target.exists()):
            return link[0]  # MkDocs follows it, and warns of one that leads nowhere
        path = f"`{target.relative_to(ROOT)}`"
        return path if label.strip("`") in path else f"{label} ({path})"

    return LINK.sub(replaced, markdown)
