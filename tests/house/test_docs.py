"""Links between the project's own pages lead somewhere, headings included."""

import re
from pathlib import Path

from tests.house import tree

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^(```|~~~).*?^\1", re.M | re.S)


def pages() -> list[Path]:
    return [*tree.ROOT.glob("*.md"), *tree.files("docs", suffixes={".md"})]


def anchors(path: Path) -> set[str]:
    """Heading anchors as forges make them: lower case, punctuation dropped, spaces to hyphens, repeats numbered."""
    found: dict[str, int] = {}
    result = set()
    for heading in re.findall(r"^#{1,6} +(.+?) *#*$", FENCE.sub("", path.read_text("utf-8")), re.M):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        count = found.get(slug, 0)
        found[slug] = count + 1
        result.add(f"{slug}-{count}" if count else slug)
    return result


def test_internal_links_resolve() -> None:
    bad = []
    for page in pages():
        for target in LINK.findall(FENCE.sub("", page.read_text("utf-8"))):
            if re.match(r"[a-z]+:", target):
                continue
            file, _, anchor = target.partition("#")
            aim = (page.parent / file).resolve() if file else page
            if not aim.exists():
                bad.append(f"{tree.name(page)} links to {target}, which is not there")
            elif anchor and aim.suffix == ".md" and anchor not in anchors(aim):
                bad.append(f"{tree.name(page)} links to {target}, which has no such heading")
    tree.report(bad)


def test_every_page_can_be_reached() -> None:
    """Starting from README.md, links lead to every page of docs/."""
    seen: set[Path] = set()
    todo = [tree.ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page in seen or not page.exists():
            continue
        seen.add(page)
        for target in LINK.findall(FENCE.sub("", page.read_text("utf-8"))):
            file = target.partition("#")[0]
            if file.endswith(".md") and ":" not in file:
                todo.append((page.parent / file).resolve())
    tree.report(
        [
            f"{tree.name(page)} is not linked from any page that README.md leads to"
            for page in tree.files("docs", suffixes={".md"})
            if page not in seen
        ]
    )
