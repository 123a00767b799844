"""What the pages say exists: links, files, commands, flags; and that they can be read."""

import contextlib
import importlib
import importlib.util
import io
import pathlib
import re
import shlex
import sys

import pytest

from clion_tf.config import Config, parse
from clion_tf.files import preset_names

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGES = [
    ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md")), *sorted(ROOT.glob("results/**/*.md")),
]  # fmt: skip
COLUMNS, README_LINES, TABLE_COLUMNS = 100, 150, 6
TOOLS = {path.stem for path in ROOT.glob("tools/[!_]*.py")}
# A path in backticks is below one of these, in the repository or in the package.
FOLDERS = {
    path.name for base in (ROOT, ROOT / "clion_tf") for path in base.iterdir() if path.is_dir()
}  # fmt: skip
OPTIONS = {f"--{name}" for name in Config.__dataclass_fields__}
# Of absl; and what stands for any.
OTHERS = {"--flagfile", "--helpfull", "--help", "--name"}

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def prose(text):
    """A page without its blocks of code: fenced ones, and those that four spaces begin."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"(?<=\n\n)(?:    .*\n)+|(?<=^)(?:    .*\n)+", "", text, flags=re.MULTILINE)


def spans(text):
    """What stands in backticks in a page's prose."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose(text))]


def commands(text):
    """Command lines in a page's blocks of code and in backticks, as words."""
    blocks = re.findall(r"^```(?:bash|sh)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    blocks += re.findall(r"(?:^    .*\n)+", text, re.MULTILINE)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    for line in (*lines, *spans(text)):
        line = re.sub(r"^\s*(?:[A-Z_]+=\S+ +)*", "", line)
        if re.match(r"(?:clion-[\w-]+|make|python -m [\w.]+)(?: |$)", line):
            # An ellipsis stands for what the reader fills in.
            yield shlex.split(line, comments=True)


def anchors(text):
    """GitHub's names of a page's headings."""
    found = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.S | re.M), re.M)
    kept = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in found]
    return {name.replace(" ", "-") for name in kept}


@every_page
def test_links_lead_somewhere(page):
    text = page.read_text()
    links = re.findall(r"\]\(([^)\s]+)\)", prose(text))
    links += re.findall(r"^\[[^\]]+\]: (\S+)$", text, re.MULTILINE)
    for link in links:
        if re.match(r"https?://", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text()), link


@every_page
def test_files_exist(page):
    for span in spans(page.read_text()):
        for word in span.split():
            path = word.removeprefix("--flagfile=").rstrip(",;:")
            if not re.fullmatch(r"[\w./…*=+-]+", path) or path.split("/")[0] not in FOLDERS:
                continue
            if "/" not in path or re.match(r"logdir/.*(?<!\.py)$", path):  # A run's folder.
                continue
            pattern = path.replace("…", "*").rstrip("/")
            found = [*ROOT.glob(pattern), *(ROOT / "clion_tf").glob(pattern)]
            assert found, path


@every_page
def test_lines_are_short(page):
    long = [
        (number, len(line))
        for number, line in enumerate(page.read_text().splitlines(), 1)
        if len(line) > COLUMNS and not line.startswith("![")
    ]
    assert not long


@every_page
def test_tables_hold_short_phrases(page):
    if page.parent.name == "notebook":
        return  # Numbers of the day, which may need more columns.
    for line in prose(page.read_text()).splitlines():
        if line.lstrip().startswith("|"):
            assert len(line.replace("\\|", "").strip().strip("|").split("|")) <= TABLE_COLUMNS, line


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= README_LINES


def test_the_index_has_every_page():
    for folder in ("docs", "docs/notebook"):
        index = (ROOT / folder / "README.md").read_text()
        for page in (ROOT / folder).glob("*.md"):
            assert page.name == "README.md" or f"({page.name})" in index, page


def said(main, *words):
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        main([*words])
    return out.getvalue()


@pytest.fixture(scope="module")
def tools():
    """The options of every tool and, under `tool command`, of its sub-commands."""
    sys.path.insert(0, str(ROOT))
    try:
        mains = {name: importlib.import_module(f"tools.{name}").main for name in TOOLS}
    finally:
        sys.path.remove(str(ROOT))
    found = {}
    for name, main in mains.items():
        text = said(main, "--help")
        found[name] = set(re.findall(r"--\w+", text))
        listed = re.search(r"\{([\w,]+)\}", text.split("\n\n")[0])
        for command in (
            listed[1].split(",") if listed and name in ("benchmark", "compare_dreamer") else ()
        ):
            found[f"{name} {command}"] = found[name] | set(
                re.findall(r"--\w+", said(main, command, "--help"))
            )
    return found


@every_page
def test_commands_and_their_flags_exist(page, tools):
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    added = re.findall(r"^\+ +(\w+): \w+ = option\(", page.read_text(), re.MULTILINE)
    for words in commands(page.read_text()):
        name, rest = words[0], words[1:]
        if name == "make":
            assert {word for word in rest if "=" not in word and word.islower()} <= targets, words
        elif name == "python":
            assert importlib.util.find_spec(rest[1]), words
        elif name == "clion-train":
            check_training([w for w in rest if w.partition("=")[0][2:] not in added])
        else:
            tool = name.removeprefix("clion-").replace("-", "_")
            assert tool in TOOLS, words
            command = f"{tool} {rest[0]}" if rest else tool
            known = tools.get(command, tools[tool])
            if tool in ("benchmark", "compare_dreamer"):  # They take all options of training.
                known = known | OPTIONS
            given = [word.partition("=")[0] for word in rest if word.startswith("--")]
            assert [word for word in given if word != "--" and word not in known] == [], words


def check_training(words):
    """Parses the options of a training, but for flagfiles that the reader makes."""
    words = [word for word in words if word.startswith("--") and "…" not in word]
    if "--help" in words or "--helpfull" in words:
        return
    files = [word for word in words if word.startswith("--flagfile=")]
    made = [file for file in files if not present(file.partition("=")[2])]
    parse([word for word in words if word not in made])
    assert all("/" in file or ".flags" in file for file in made), made


def present(file):
    if (ROOT / file).is_file():
        return True
    return "/" not in file and file.removesuffix(".flags") in preset_names()


@every_page
def test_flags_exist(page, tools):
    """Also those that stand alone, as `--name`."""
    known = OTHERS | OPTIONS.union(*tools.values())
    for span in spans(page.read_text()):
        for flag in re.findall(r"(?<![\w-])--\w+", span):
            positive = flag.replace("--no", "--", 1)
            assert flag in known or positive in known, flag


@pytest.mark.parametrize("folder", ["clion_tf", "tools", "tests", "flags", "Makefile"])
def test_pages_that_the_code_names_exist(folder):
    place = ROOT / folder
    files = [place] if place.is_file() else [p for p in place.rglob("*") if p.is_file()]
    for file in files:
        if file.suffix in (".py", ".flags", "") and "__pycache__" not in file.parts:
            for name in re.findall(r"\bdocs/[\w/.-]+\.(?:md|png|gif)", file.read_text()):
                assert (ROOT / name).exists(), f"{file}: {name}"


def test_defaults_are_those_of_the_options():
    """The second column of the tables of docs/flags.md."""
    text = (ROOT / "docs" / "flags.md").read_text()
    rows = re.findall(r"^\| (`--[^|]+`) \| ([^|]+) \|", text, re.MULTILINE)
    checked = 0
    for names, values in rows:
        names = re.findall(r"--(\w+)", names)
        values = [
            value.strip("` ").replace(",", "").replace("−", "-") for value in values.split(", ")
        ]
        assert len(names) == len(values), names
        for name, value in zip(names, values, strict=True):
            default = Config.__dataclass_fields__[name].default
            if isinstance(default, bool):
                assert value == ("on" if default else "off"), name
            elif isinstance(default, str):
                assert value == (default or "–"), name
            else:
                assert float(value) == default, name
            checked += 1
    assert checked > 40
