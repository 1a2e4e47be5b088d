"""A user's own indicators: what is taken, what is refused and where, and that a program carries their text."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from plain_step import file_of

from atmand.core.indicators import INDICATORS
from atmand.errors import AtmandError
from atmand.lang import user_indicators
from atmand.lang.program import Deployment, generate, module_head
from atmand.lang.source import StrategyError
from atmand.lang.structure import compile_structure
from atmand.lang.user_indicators import known_indicators, use_indicators
from atmand.settings import SettingsError, load

TEXT = '''from atmand.core.indicators import Indicator
from atmand.core.indicators.registry import NAN, missing, scalars
from atmand.core.jit import kernel


@kernel
def leaky(s, x, period, leak):
    """A mean that leaks."""
    if missing(x):
        return NAN
    s.count += 1
    s.value = x if s.count == 1 else s.value * leak + x * (1.0 - leak)
    return s.value if s.count >= period else NAN


INDICATORS = [
    Indicator(
        "leaky", ("source",), (("period", 5, 1),), (), scalars("value"), lambda p: p - 1, True, "a mean that leaks",
        numbers=(("leak", 0.5, 0.0, 1.0),), units=("source",),
    )
]
'''


@pytest.fixture(autouse=True)
def none_in_use() -> Iterator[None]:
    yield
    use_indicators([])


def use(folder: Path, text: str = TEXT, name: str = "mine.py") -> Path:
    file = folder / name
    file.write_text(text)
    use_indicators([file])
    return file


def test_a_strategy_may_name_an_indicator_of_a_file_in_use(tmp_path: Path) -> None:
    use(tmp_path)
    structure = compile_structure(file_of("close > leaky(open, 3, 0.25)"))
    assert "leaky(s.i0, open_, 3, 0.25)" in structure.text
    use_indicators([])
    with pytest.raises(StrategyError, match="unknown name 'leaky'"):
        compile_structure(file_of("close > leaky(3)"))
    assert "leaky" not in INDICATORS and dict(known_indicators()) == INDICATORS


def test_a_program_carries_the_text_and_runs_without_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = use(tmp_path)
    head = module_head([compile_structure(file_of("close > leaky(3)"))])
    file.unlink()
    use_indicators([])
    for name in [name for name in sys.modules if name.startswith("atmand_indicators_")]:
        monkeypatch.delitem(sys.modules, name)
    names: dict[str, Any] = {}
    exec(head, names)
    assert names["leaky"].__name__ == "leaky"
    assert names["INDICATORS"]["leaky"].state(3).names == ("count", "value")


def test_a_changed_text_changes_the_program_and_its_structures(tmp_path: Path) -> None:
    deployment = Deployment(file_of("close > leaky(3)"))
    made = []
    for text in (TEXT, TEXT.replace("1.0 - leak", "1.0 - leak + 0.0"), TEXT):
        use(tmp_path, text)
        made.append(generate([deployment]))
    assert made[0].source == made[2].source != made[1].source
    assert made[0].manifest.structures[0].name != made[1].manifest.structures[0].name


def test_a_module_imports_only_the_indicators_that_it_uses() -> None:
    head = module_head([compile_structure(file_of("close > ema(3) and rsi(14) > 50 and close > sma(4)"))])
    lines = [line for line in head.splitlines() if "core.indicators" in line]
    assert lines == [
        "from atmand.core.indicators import INDICATORS, lookback",
        "from atmand.core.indicators.momentum import rsi",
        "from atmand.core.indicators.overlap import ema, sma",
    ]


def test_no_name_of_a_generated_module_may_be_an_indicators() -> None:
    names: dict[str, Any] = {}
    exec(module_head([]), names)
    own = {name for name in names if user_indicators._NAME.fullmatch(name)}
    assert own - user_indicators._WORDS == set()
    assert user_indicators._WORDS.isdisjoint(INDICATORS)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('"leaky", ("source"', '"leeky", ("source"', "leeky: there is no kernel of this name"),
        ('"leaky", ("source"', '"Leaky", ("source"', "Leaky: not a name"),
        ('"leaky", ("source"', '"close", ("source"', "close is a word of the language"),
        ('("source",)', '("source", "volume")', "leaky: the kernel takes 4 arguments, the row says 5"),
        ('("source",)', '("bid",)', "leaky: unknown input bid; known: close, high"),
        ('("source",)', '("source2",)', "leaky: source2 comes without source; name source first"),
        ('("period", 5, 1)', '("period", 5, 9)', "leaky: a bad look-back"),
        ('("leak", 0.5, 0.0', '("leak", 0.5, 0.7', "leaky: a bad number"),
        ('units=("source",)', 'units=("euro",)', "leaky: unknown unit euro"),
        ('units=("source",)', 'units=("source", "price")', "leaky: units do not fit the outputs"),
        ('scalars("value")', "lambda: 1", "leaky: state: TypeError"),
        ('scalars("value")', "lambda p: 1", "leaky: state: makes no structured dtype"),
        ("lambda p: p - 1", "lambda p: -p", "leaky: warm_up: gives -5"),
        ("def leaky(s, x", "def leaky(s x", ":7: SyntaxError"),
        ("INDICATORS = [", "1 / 0\nINDICATORS = [", ":16: ZeroDivisionError: division by zero"),
        ("INDICATORS = [", "MINE = [", "has no list INDICATORS"),
        ("from atmand.core.jit", "import nowhere\nfrom atmand.core.jit", ":3: ModuleNotFoundError"),
    ],
)
def test_a_bad_file_is_refused_with_its_place(tmp_path: Path, old: str, new: str, told: str) -> None:
    use(tmp_path, name="good.py")
    assert old in TEXT
    with pytest.raises(AtmandError) as caught:
        use(tmp_path, TEXT.replace(old, new, 1))
    assert str(tmp_path / "mine.py") in str(caught.value) and told in str(caught.value)
    assert "leaky" in known_indicators(), "what was in use stays"


def test_an_indicator_of_ours_or_of_another_file_keeps_its_name(tmp_path: Path) -> None:
    with pytest.raises(AtmandError, match="'rsi' is an indicator of atmand already"):
        use(tmp_path, TEXT.replace("leaky", "rsi"))
    first, second = use(tmp_path), tmp_path / "other.py"
    second.write_text(TEXT.replace("leaks", "drips"))
    with pytest.raises(AtmandError, match=r"'leaky' is an indicator of .*mine\.py already"):
        use_indicators([first, second])


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(AtmandError, match="No such file"):
        use_indicators([tmp_path / "nowhere.py"])
    (tmp_path / "latin.py").write_bytes(b"# \xe9\n")
    with pytest.raises(AtmandError, match="byte 2 is not UTF-8"):
        use_indicators([tmp_path / "latin.py"])


def test_the_configuration_names_files_from_its_own_folder(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text('indicators = ["own/mine.py"]\n')
    with pytest.raises(SettingsError, match=r"indicators.*own/mine\.py is not a file"):
        load(tmp_path / "x.toml")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "mine.py").write_text(TEXT)
    settings = load(tmp_path / "x.toml")
    assert settings.indicators == (tmp_path / "own" / "mine.py",)
    use_indicators(settings.indicators)
    assert known_indicators()["leaky"].warm_up(9) == 8 and math.isfinite(known_indicators()["leaky"].kept(9))
