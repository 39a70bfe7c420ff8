"""The canonical form of a policy file, as `governor policy fmt` writes it. Pure: text in, text out."""

from __future__ import annotations

import re

from governor.errors import PolicyError, Problem
from governor.policy import layout, sections
from governor.policy.positions import read_yaml

_ODD_BREAK = re.compile("[\r\x85\u2028\u2029]")


def canonical(file: str, text: str, *, ordered: bool = True) -> str:
    """*text* in canonical form: what it says and its comments stay.

    The keys are in the order of the language's reference, levels two columns deep, quotes only where they
    help, blank lines single. Rows in braces stay rows, with the author's columns; one above 110 columns is
    broken after commas.

    Args:
        file: What to call the file in problems.
        text: Its content; line breaks may be those of Windows.
        ordered: Whether its keys are those of a policy, and are put in order.

    Raises:
        PolicyError: It is not YAML that the language allows, each problem with its place; or it could not
            be formatted without changing what it says or losing a comment.
    """
    plain = text.replace("\r\n", "\n")
    document = read_yaml(file, plain)
    if document.problems:
        raise PolicyError(document.problems)
    odd = _ODD_BREAK.search(plain)
    if odd is not None:
        before = plain[: odd.start()]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        raise PolicyError([Problem(file, line, column, "an odd line break", "use plain line feeds")])
    if not plain.endswith("\n"):
        plain += "\n"
    done = layout.even(sections.ordered_rows(plain) if ordered else plain)
    if ordered:
        done = sections.ordered_blocks(done)
    same = read_yaml(file, done).root.plain() == document.root.plain()
    if not same or layout.comments(done) != layout.comments(plain):
        hint = "lay it out by hand; please report this file, for it should not happen"
        raise PolicyError(
            [Problem(file, 1, 1, "this cannot be formatted without changing what it says", hint)]
        )
    return done
