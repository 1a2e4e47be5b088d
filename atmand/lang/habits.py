"""What people write out of habit of other languages, and how it is written here.

Asked only where an expression is refused already, to say more than that it is none.
"""

from __future__ import annotations

import ast
import re
from typing import Final

__all__ = ["form_of", "habit"]

_QUOTED: Final = re.compile(r"\"[^\"\n]*\"?|'[^'\n]*'?")
_HABITS: Final[tuple[tuple[str, str, str], ...]] = (
    (r"&&?", "'{}' is not part of the language", "write and"),
    (r"\|\|?", "'{}' is not part of the language", "write or"),
    (r"===|!==", "'{}' is not part of the language", "write == or !="),
    (r"<>|≠", "'{}' is not part of the language", "write !="),
    (r"=<|≤", "'{}' is not part of the language", "write <="),
    (r"=>|≥", "'{}' is not part of the language", "write >="),
    (r"!(?!=)|~", "'{}' is not part of the language", "write not"),
    (
        r"(?<!\bon)(?<!\bof)(?<!\bon )(?<!\bof )(?<![=<>!:])=(?![=<>])",
        "'=' gives a name to something; an expression only compares",
        "write ==",
    ),
    (r":=", "':=' gives a name to something; an expression only compares", "write ==, or name it in [signals]"),
    (r"\b(?!and\b)(?i:and)\b", "'{}' is not part of the language", "write and, in small letters"),
    (r"\b(?!or\b)(?i:or)\b", "'{}' is not part of the language", "write or, in small letters"),
    (r"\b(?!not\b)(?i:not)\b", "'{}' is not part of the language", "write not, in small letters"),
    (r"\?|\bthen\b", "'{}' is not part of the language", "write a choice as: x if condition else y"),
    (r"^\s*if\b", "an expression does not begin with if", "write the condition alone, or x if condition else y"),
    (r"\+\+|--\s*$", "'{}' is not part of the language", "write x + 1"),
    (r"%\s*$|%\s*(?=[<>=)]|and\b|or\b)", "a % stands only behind a distance of [stop]", "write the number alone"),
    (r"[;$@#`\\]", "'{}' is not part of the language", "leave it out"),
    (r"\b0\d+\b", "'{}' begins with a zero", "write the number without it"),
)
_TOKENS: Final = tuple((re.compile(form), what, remedy) for form, what, remedy in _HABITS)
_OPERATORS: Final[dict[type[ast.AST], tuple[str, str]]] = {
    ast.BitAnd: ("'&' is not part of the language", "write and"),
    ast.BitOr: ("'|' is not part of the language", "write or"),
    ast.BitXor: ("'^' is not part of the language", "write != between conditions, or ** 2 for a square"),
    ast.Invert: ("'~' is not part of the language", "write not"),
    ast.LShift: ("'<<' is not part of the language", "write <"),
    ast.RShift: ("'>>' is not part of the language", "write >"),
    ast.Is: ("'is' is not part of the language", "write =="),
    ast.IsNot: ("'is not' is not part of the language", "write !="),
    ast.In: ("'in' is not part of the language", "compare with each: x == 1 or x == 2"),
    ast.NotIn: ("'not in' is not part of the language", "compare with each: x != 1 and x != 2"),
}
_FORMS: Final[dict[type[ast.AST], tuple[str, str]]] = {
    ast.Tuple: ("a comma stands only between arguments", "write numbers without thousands' commas, and rules with and"),
    ast.List: ("lists are not part of the language", "compare with each value"),
    ast.Set: ("sets are not part of the language", "compare with each value"),
    ast.Attribute: ("it has no parts", "parts stand behind calls such as macd(12, 26, 9).hist"),
    ast.Lambda: ("functions are not made here", "name the expression in [signals]"),
    ast.NamedExpr: ("':=' is not part of the language", "name the expression in [signals]"),
}


def habit(text: str, offset: int) -> tuple[int, str, str] | None:
    """Return the place of what looks like another language's sign, what is wrong with it and what to write.

    Of several, the one that ends nearest to where Python gave up. None where nothing is known.
    """
    bare = _QUOTED.sub(lambda found: " " * len(found[0]), text)
    found = [
        (abs(match.end() - offset), match.start(), what.format(match[0].strip()), remedy)
        for form, what, remedy in _TOKENS
        for match in form.finditer(bare)
    ]
    return min(found)[1:] if found else None


def form_of(node: ast.AST) -> tuple[str, str]:
    """Return why a form of Python is no part of the language, and what to write for it."""
    sign: ast.AST = getattr(node, "op", node)
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return "text is not part of the language here", "take the quotation marks off a name"
    known = _OPERATORS.get(type(sign)) or _FORMS.get(type(node))
    return known or ("this form is not part of the language", "use names, numbers, arithmetic, comparisons, calls")
