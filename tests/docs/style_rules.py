"""Rules of plain English for docs, messages, docstrings and comments: words that are not used, and sentence length."""

from __future__ import annotations

import re
import tokenize
from io import StringIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MAXIMUM_WORDS = 35
"""Words in a sentence of a docs page. The aim is 25; the rest is room for lists of names."""
_BANNED = (
    r"mend(?:s|ed|ing)?",
    r"whoever",
    r"for ever",
    r"till",
    r"hither",
    r"unheard",
    r"never heard",
    r"beside",
    r"teeth",
    r"leap(?! second| year)s?|leapt|leaping",
    r"befalls?",
    r"than which",
    r"the one who",
    r"(?:is|are|was|were|be|been|being) told",
    r"tells? (?:of|neither)",
    r"stands? (?:in|there|before|for nothing|as it)",
    r"(?:has|have|had) (?:no|a) say",
    r"(?:has|have) its say",
    r"says? (?:no|yes)",
    r"lets? (?:in|through)",
    r"(?<!there\s)(?:is|are) no (?!longer\b|more\b|less\b)\w+",
    r"goes? no way",
    r"(?:the )?ways? to STS",
    r"in a box",
    r"worth more than",
    r"takes? them from",
    r"takes? (?:\w+ )?away",
    r"least level",
    r"at the (?:most|soonest)",
    r"(?:the )?loop (?:turns|does not turn)",
    r"late kubelet",
    r"kubelet is late",
)
_PATTERN = re.compile(rf"(?<![\w-])(?:{'|'.join(_BANNED)})(?![\w-])".replace(" ", r"\s+"), re.IGNORECASE)
_TEXT_TOKENS = {
    number
    for name in ("STRING", "COMMENT", "FSTRING_MIDDLE")
    if (number := getattr(tokenize, name, None)) is not None  # 3.12 and newer split f-strings
}


def find_banned_words(text: str) -> Iterator[tuple[int, str]]:
    """Yield the line number and the words of each use of a banned expression."""
    for found in _PATTERN.finditer(text):
        yield text.count("\n", 0, found.start()) + 1, " ".join(found[0].split())


def find_banned_words_in_python(source: str) -> Iterator[tuple[int, str]]:
    """Yield the same for the string literals, docstrings included, and the comments of a Python source."""
    for token in tokenize.generate_tokens(StringIO(source).readline):
        if token.type in _TEXT_TOKENS:
            for line, words in find_banned_words(token.string):
                yield token.start[0] + line - 1, words


def find_long_sentences(page: str) -> Iterator[tuple[int, int]]:
    """Yield the line number and the number of words of each sentence of a Markdown page that is too long."""
    for first_line, paragraph in _paragraphs(page):
        start = 0
        for end in [*(found.end() for found in re.finditer(r"[.!?][)\"*]*(?=\s|$)", paragraph)), len(paragraph)]:
            sentence = paragraph[start:end]
            words = [word for word in sentence.split() if re.search(r"\w", word)]
            if len(words) > MAXIMUM_WORDS:
                lead = len(sentence) - len(sentence.lstrip())
                yield first_line + paragraph.count("\n", 0, start + lead), len(words)
            start = end


def _paragraphs(page: str) -> Iterator[tuple[int, str]]:
    """Yield the first line number and the text of each paragraph and list item, without code, tables and headings."""
    page = re.sub(r"^( *)```.*?^ *```$", _keep_lines, page, flags=re.DOTALL | re.MULTILINE)
    page = re.sub(r"<!--.*?-->", _keep_lines, page, flags=re.DOTALL)
    page = re.sub(r"`[^`]*`", lambda found: "code" + "\n" * found[0].count("\n"), page)
    page = re.sub(r"\]\([^)]*\)", "]", page)
    lines: list[str] = []
    for number, line in enumerate([*page.splitlines(), ""], start=1):
        begins = re.match(r"\s*(?:[-*]|\d+\.) ", line) is not None
        is_prose = line.strip() != "" and not line.lstrip().startswith(("|", "#"))
        if lines and (begins or not is_prose):
            yield number - len(lines), "\n".join(lines)
            lines = []
        if is_prose:
            lines.append(re.sub(r"^\s*(?:[-*]|\d+\.) ", "", line))


def _keep_lines(found: re.Match[str]) -> str:
    return "\n" * found[0].count("\n")
