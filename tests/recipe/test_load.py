"""The recipe: whatever is wrong with it is one line that names file, line and field and says what to do."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tilth.corpus.document import DOCUMENT
from tilth.corpus.errors import UserError
from tilth.inputs import find_inputs
from tilth.recipe.load import TAGS, load_recipe
from tilth.recipe.recipe import COLUMNS, Recipe, recipe_schema
from tilth.recipe.values import UNITS, parse_size

DEMO = Path(__file__).parents[2] / "tilth/demo/recipe.yaml"
HEAD = "name: x\nsources:\n  - {name: farm, path: a.jsonl}\n  - {name: web, path: b.jsonl}\n"  # four lines
SELECT = "stages: [{use: select, keep: 0.5}"  # lists are closed where the recipe is written
SCORE = "stages: [{use: score, model: m.bin}"


def complaint(path: Path, text: str | bytes) -> str:
    """Write a recipe, load it, and return what is said about it, without the path."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError) as caught:
        load_recipe(path)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert len(message) < 500
    assert message.startswith(str(path))
    return message.removeprefix(str(path))


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    return tmp_path / "recipe.yaml"


# fields

FIELDS = {
    "seed: -1": ":5: seed: input should be greater than or equal to 0, found -1",
    "seed: 1.5": ":5: seed: input should be a valid integer, got a number with a fractional part, found 1.5",
    "seed: null": ":5: seed: input should be a valid integer, found None",
    "part_size: 64 XB": ":5: part_size: expected bytes, as a number or like '64 MB', found '64 XB'",
    "part_size: 1 KB": ":5: part_size: input should be greater than or equal to 1024, found 1000",
    "part_size: 3 GB": ":5: part_size: input should be less than or equal to 2147483648, found 3000000000",
    "part_size: .nan": ":5: part_size: input should be a finite number, found nan",
    "part_size: -.inf": ":5: part_size: input should be a finite number, found -inf",
    "part_sise: 1": ":5: part_sise: unknown key; did you mean 'part_size'?",
    "colour: red": ":5: colour: unknown key; known keys: name, seed, ",
    "stages: 7": ":5: stages: input should be a valid list, found 7",
    "stages: [{preset: x@1}]": ":5: stages.0: expected 'use' with one of ",
    "stages: [{use: dedupe}]": ":5: stages.0: use: 'dedupe' is unknown; did you mean 'deduplicate'?",
    "stages: [{use: magic}]": ":5: stages.0: use: 'magic' is unknown; expected one of ",
    "stages: [{use: rules}]": ":5: stages.0.preset: missing; give it a value",
    "stages: [{use: rules, prest: x@1}]": ":5: stages.0.prest: unknown key; did you mean 'preset'? (and 1 more)",
    "stages: [{use: hold-out, fraction: 0}]": ":5: stages.0.fraction: input should be greater than 0, found 0",
    "stages: [{use: hold-out, fraction: 2}]": ":5: stages.0.fraction: input should be less than or equal to 1, found 2",
    "stages: [{use: hold-out, fraction: .nan}]": ":5: stages.0.fraction: input should be a finite number, found nan",
    "stages: [{use: hold-out, name: A B}]": ":5: stages.0.name: string should match pattern",
    "stages: [{use: deduplicate, allowance: 2}]": ":5: stages.0.allowance: input should be less than or equal to 1",
    "stages: [{use: deduplicate, allowance: {web: 2}}]": ":5: stages.0.allowance.web: input should be less",
    "train: {select: 1}": ":5: train.select: unknown key; known keys: ",
    "train: 7": ":5: train: input should be ",
}

RULES = "stages:\n  - use: rules\n    preset: x@1\n    limits:\n      words: {}"
LIMITS = {
    "-1": ":9: stages.0.limits.words: input should be greater than or equal to 0, found -1",
    "many": ":9: stages.0.limits.words: input should be a valid number, unable to parse string as a number",
    ".nan": ":9: stages.0.limits.words: input should be a finite number, found nan",
    ".inf": ":9: stages.0.limits.words: input should be a finite number, found inf",
    "[-1, 2]": ":9: stages.0.limits.words.0: input should be greater than or equal to 0, found -1",
    "[1, .inf]": ":9: stages.0.limits.words.1: input should be a finite number, found inf",
    "[1, 2, 3]": ":9: stages.0.limits.words: ",
}

# what fields say about each other
TOGETHER = {
    "stages: [{use: deduplicate, priority: [farm, wep]}": ":5: stages.0.priority.1: no source has the name 'wep'; did",
    "stages: [{use: deduplicate, priority: [books]}": ":5: stages.0.priority.0: no source has the name 'books'",
    SELECT: ":5: stages.0.by: no stage before this one measures 'quality'; known: none",
    SELECT
    + ", {use: score, model: m.bin}": ":5: stages.0.by: no stage before this one measures 'quality'; known: none",
    SCORE
    + ", {use: select, by: qualty, keep: 1}": ":5: stages.1.by: no stage before this one measures 'qualty'; did you",
    "stages: [{use: score}": ":5: stages.0: expected either 'train' or 'model'",
    "stages: [{use: score, model: m.bin, name: text}": ":5: stages.0.name: 'text' is a column of documents; choose",
    "stages: [{use: normalise, name: train}": ":5: stages.0.name: 'train' is a step of the run itself; choose another",
    "stages:\n- use: normalise\n- use: normalise": ":7: stages.1.name: 'normalise' is used twice; give each its own",
    "train: {}": ":5: train: a model needs tokens; give the recipe a 'tokenizer'",
    "tokenizer: {}\ntrain: {weights: {wep: 1}}": ":6: train.weights.wep: no source has the name 'wep'; did you mean",
    "tokenizer: {}\ntrain: {weights: {web: -1}}": ":6: train.weights.web: input should be greater than or equal to 0",
    "stages: [{use: hold-out}]\nevaluate: {}": ":6: evaluate: there is no model; give the recipe a 'train'",
    "tokenizer: {}\ntrain: {}\nevaluate: {}": ":7: evaluate: nothing is held out; give the recipe a stage ",
}


@pytest.mark.parametrize("text", [*FIELDS, *TOGETHER])
def test_a_mistake_is_named_with_its_line_and_field(recipe: Path, text: str) -> None:
    closed = text + "]" * (text.count("[") - text.count("]"))
    said = complaint(recipe, HEAD + closed + "\n")
    assert said.startswith((FIELDS | TOGETHER)[text])


@pytest.mark.parametrize("limit", LIMITS)
def test_a_wrong_limit_is_named_with_its_rule(recipe: Path, limit: str) -> None:
    assert complaint(recipe, HEAD + RULES.format(limit)).startswith(LIMITS[limit])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: x", ":1: sources: found none, expected at least one; add a source"),
        ("name: x\nsources: []", ":2: sources: list should have at least 1 item"),
        ("name: x\ntokens: t\nsources: [{name: a, path: b}]", ":3: sources: found beside 'tokens', which hold no text"),
        ("name: x\ntokens: t\ntokenizer: {kind: bytes}", ":3: tokenizer: expected 'model', the tokenizer that made"),
        ("name: x\nsources: {name: a, path: b}", ":2: sources: input should be a valid list"),
        ("name: x\nsources: [{name: a}]", ":2: sources.0.path: missing; give it a value"),
        ("name: x\nsources: [{name: a, path: 7}]", ":2: sources.0.path: input should be a valid string, found 7"),
        (
            "name: x\nsources: [{name: a, path: [b, 7]}]",
            ":2: sources.0.path.1: input should be a valid string, found 7",
        ),
        ("name: x\nsources: [{name: a, path: []}]", ":2: sources.0.path: "),
        ("name: x\nsources:\n- {name: a, path: b}\n- {name: a, path: c}", ":4: sources.1.name: 'a' is used twice"),
        ("name: x\nsources: [{name: a, path: b, allowance: .nan}]", ":2: sources.0.allowance: input should be"),
        ("name: x\nsources: [{name: a, path: b, txt: body}]", ":2: sources.0.txt: unknown key; did you mean 'text'?"),
        ("name: ../x\nsources: [{name: a, path: b}]", ":1: name: string should match pattern"),
        ("name: no\nsources: [{name: a, path: b}]", ":1: name: input should be a valid string, found False"),
        ("name: x\nsurces: [{name: a, path: b}]", ":2: surces: unknown key; did you mean 'sources'?"),
    ],
)
def test_a_mistake_in_the_head_is_named_too(recipe: Path, text: str, said: str) -> None:
    assert complaint(recipe, text).startswith(said)


# YAML that is none, or too much

BOMB = "bomb:\n  - &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"  - &a{depth} [{', '.join([f'*a{depth - 1}'] * 10)}]\n" for depth in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ": expected a mapping with 'name' and 'sources', found nothing"),
        ("# only a comment\n", ": expected a mapping with 'name' and 'sources', found nothing"),
        ("- a\n- list\n", ": expected a mapping with 'name' and 'sources', found list"),
        ("7", ": expected a mapping with 'name' and 'sources', found int"),
        ("name: x\nname: y\n", ":2: not valid YAML: key 'name' is given twice"),
        (HEAD + "stages: [{use: rules, preset: a, preset: b}]", ":5: not valid YAML: key 'preset' is given twice"),
        (HEAD + "stages:\n\t- use: normalise\n", ":6: not valid YAML: found character '\\t'"),
        ("name: [x\n", ":2: not valid YAML: expected ',' or ']'"),
        ("name: *x\n", ":1: not valid YAML: found undefined alias 'x'"),
        ("--- {name: x}\n--- {name: y}\n", ":2: not valid YAML: but found another document"),
        ("name: !!python/object/apply:os.getcwd []\n", ":1: not valid YAML: could not determine a constructor"),
        ("name: x\n? [a, b]\n: c\n", ":2: not valid YAML: a key must be a word"),
        ("{{a: 1}: 2}", ":1: not valid YAML: a key must be a word"),
        (HEAD + "seed: 99999999999999999999", ":5: not valid YAML: a number beyond 64 bits"),
        (HEAD + "seed: 0x" + "f" * 9000, ":5: not valid YAML: a number beyond 64 bits"),
        (HEAD + "seed: " + "9" * 9000, ":5: not valid YAML: Exceeds the limit"),
        (HEAD + "part_size: " + "9" * 9000 + " GB", ":5: part_size: "),
        (HEAD + "part_size: 1e999", ":5: part_size: "),
        ("name: 2020-13-45\n", ":1: not valid YAML: month must be in 1..12"),
        (BOMB, ": not valid YAML: its aliases stand for more than 100,000 values; write them out"),
        (BOMB.replace("bomb:", "name:"), ": not valid YAML: its aliases stand for more than 100,000 values"),
        ("a: &a [*a]\n", ": not valid YAML: its aliases stand for more than 100,000 values"),
        ("[" * 3000, ": not valid YAML: maximum recursion depth exceeded"),
        ("name: \0\n", ": not valid YAML: unacceptable character #x0000"),
        (b"name: \xff\n", ": cannot be read ("),
    ],
    ids=lambda value: None,
)
def test_what_is_no_recipe_is_one_line(recipe: Path, text: str | bytes, said: str) -> None:
    assert complaint(recipe, text).startswith(said)


def test_an_alias_that_is_no_bomb_is_well(recipe: Path) -> None:
    recipe.write_text(
        HEAD + "stages: [{use: rules, preset: x@1, limits: &a {words: 5}}, {use: rules, preset: y@1, name: y, "
        "limits: *a}]"
    )
    first, second = load_recipe(recipe).stages
    assert first.limits == second.limits == {"words": 5}


def test_a_recipe_that_is_not_there_or_a_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no such recipe; 'tilth init' writes one to start from$"):
        load_recipe(tmp_path / "none.yaml")
    with pytest.raises(UserError, match="cannot be read") as caught:
        load_recipe(tmp_path)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=60))
def test_no_text_is_more_than_one_line_of_complaint(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("any") / "recipe.yaml"
    complaint(path, text.encode("utf-8", "surrogatepass"))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def paths(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the way to every value inside."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from paths(inner, (*path, key))


DEMO_PATHS = list(paths(yaml.safe_load(DEMO.read_text())))


@given(st.sampled_from(DEMO_PATHS), VALUES)
def test_any_value_in_any_field_loads_or_is_one_line_that_names_the_recipe(
    tmp_path_factory: pytest.TempPathFactory, place: tuple[str | int, ...], value: object
) -> None:
    data = yaml.safe_load(DEMO.read_text())
    inner = data
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    path = tmp_path_factory.mktemp("field") / "recipe.yaml"
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    try:
        load_recipe(path)
    except UserError as error:
        assert len(str(error).splitlines()) == 1
        assert str(error).startswith(str(path))


# sizes


@pytest.mark.parametrize(
    ("said", "found"),
    [("64 MB", 64_000_000), ("1.5KiB", 1536), ("0.1 GB", 10**8), (" 7 b ", 7), (12, 12), ("4 gib", 2**32)],
)
def test_sizes_are_bytes(said: object, found: int) -> None:
    assert parse_size(said) == found


@given(st.integers(0, 10**15 - 1), st.sampled_from(sorted(UNITS)))
def test_sizes_are_exact(number: int, unit: str) -> None:
    assert parse_size(f"{number} {unit}") == number * UNITS[unit]


@pytest.mark.parametrize(
    "said", ["", "MB", "1 MB 2", "-1 MB", "1,5 MB", "1e3 MB", "nan MB", "1 M", "0x1 MB", "12", "9" * 99 + " MB"]
)
def test_what_is_no_size_is_refused(said: str) -> None:
    with pytest.raises(ValueError, match="expected bytes, as a number or like '64 MB'"):
        parse_size(said)


# what is right


def test_the_example_is_a_recipe_and_survives_being_written_down() -> None:
    recipe = load_recipe(DEMO)
    assert {"normalise", "rules", "deduplicate", "hold-out"} <= {step.use for step in recipe.stages} <= set(TAGS)
    assert recipe.part_size == 4_000_000
    assert Recipe.model_validate(recipe.model_dump(mode="json")) == recipe


def test_a_recipe_cannot_be_changed() -> None:
    recipe = load_recipe(DEMO)
    with pytest.raises(ValueError, match="frozen"):
        recipe.seed = 2  # type: ignore[misc]


def test_paths_are_relative_to_the_recipe_and_not_to_where_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "recipes/data").mkdir(parents=True)
    (tmp_path / "recipes/data/a.jsonl").write_text('{"text": "loam"}\n')
    path = tmp_path / "recipes/recipe.yaml"
    path.write_text("name: x\nsources: [{name: farm, path: data/*.jsonl}]\n")
    found = []
    for place in (tmp_path, tmp_path / "recipes", Path("/")):
        monkeypatch.chdir(place)
        inputs = find_inputs(load_recipe(Path(os.path.relpath(path))), path.parent)
        found.append([(file.path, file.relative) for file in inputs.files])
    assert found == [[(str(tmp_path / "recipes/data/a.jsonl"), "data/a.jsonl")]] * 3


def test_the_schema_is_json_and_knows_every_key_of_the_example() -> None:
    schema = json.loads(json.dumps(recipe_schema()))
    assert schema["type"] == "object"
    assert set(schema["required"]) == {"name"}
    assert schema["anyOf"] == [{"required": ["sources"]}, {"required": ["tokens"]}]
    assert schema["additionalProperties"] is False
    steps = {name for name in schema["$defs"] if name.endswith("Step")}
    assert steps == {step.__name__ for step in TAGS.values()}
    references = set(re.findall(r'"#/\$defs/(\w+)"', json.dumps(schema)))
    assert references == set(schema["$defs"])


def test_the_schema_accepts_the_example_and_refuses_what_the_recipe_refuses() -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    schema = recipe_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    example = load_recipe(DEMO).model_dump(mode="json", exclude_defaults=True)
    assert list(validator.iter_errors(example)) == []
    for wrong in ({"colour": "red"}, {"seed": -1}, {"stages": [{"use": "magic"}]}, {"sources": []}):
        assert list(validator.iter_errors(example | wrong))


def test_names_of_signals_are_kept_from_every_column_of_a_document() -> None:
    assert tuple(DOCUMENT.names) == COLUMNS
