"""Files of rows: each form is read, what is wrong is told with its place, and a large one is sampled."""

import csv
import json
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from weighbridge.learning import files
from weighbridge.learning.files import BadFile, number, sample

ROWS = [{"prompt": f"ask {i}", "small_score": i % 2, "large_score": 1} for i in range(5)]
NEEDED = ("prompt", "small_score", "large_score")


def jsonl(path: Path, rows: Iterator[dict] | list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_jsonl_and_csv_and_parquet_are_read_alike(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    one = jsonl(tmp_path / "a.jsonl", ROWS)
    two, three = tmp_path / "a.csv", tmp_path / "a.parquet"
    with two.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, ROWS[0])
        writer.writeheader()
        writer.writerows(ROWS)
    pandas.DataFrame(ROWS).to_parquet(three)
    for path in (one, two, three):
        read = sample(path, NEEDED)
        assert [placed.get("prompt") for placed in read.rows] == [row["prompt"] for row in ROWS]
        assert [number(placed, "small_score") for placed in read.rows] == [0, 1, 0, 1, 0]
        assert read.total == 5


def test_other_names_for_the_same_are_known(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", [{"question": "q", "weak_score": 0, "strong_score": True}])
    (placed,) = sample(path, NEEDED).rows
    assert (placed.get("prompt"), number(placed, "small_score"), number(placed, "large_score")) == ("q", 0, 1)


def test_a_large_file_is_sampled_evenly_and_the_same_way_each_time(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", ({"prompt": str(i)} for i in range(20_000)))
    read = sample(path, ("prompt",), most=1000)
    places = [int(placed.get("prompt")) for placed in read.rows]
    assert read.total == 20_000
    assert len(set(places)) == 1000
    assert places == sorted(places)
    assert 9_000 < sum(places) / 1000 < 11_000
    assert read == sample(path, ("prompt",), most=1000)


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_no_more_than_the_sample_is_in_memory(tmp_path: Path, suffix: str) -> None:
    """So that ten million rows take time, and no more room than ten thousand."""
    prompts = [f"ask {i} " + "x" * 600 for i in range(10_000)]
    path = tmp_path / f"a{suffix}"
    if suffix == ".jsonl":
        jsonl(path, ({"prompt": prompt} for prompt in prompts))
    elif suffix == ".csv":
        path.write_text("prompt\n" + "\n".join(prompts) + "\n")
    else:
        pytest.importorskip("pyarrow")
        pytest.importorskip("pandas").DataFrame({"prompt": prompts}).to_parquet(path, row_group_size=1000)
    del prompts
    tracemalloc.start()
    try:
        read = sample(path, ("prompt",), most=100)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (read.total, len(read.rows)) == (10_000, 100)
    assert most < 3_000_000  # the rows alone are twice that


def test_a_column_that_is_missing_is_named_with_those_there(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", [{"prompt": "a", "smal_score": 1}])
    with pytest.raises(
        BadFile, match=r"no column `small_score` and `large_score`; its columns are: prompt, smal_score"
    ):
        sample(path, NEEDED)
    with pytest.raises(BadFile, match="no column `prompt` or `messages`"):
        sample(jsonl(tmp_path / "b.jsonl", [{"text_": "a"}]), ("prompt",))


@pytest.mark.parametrize(
    ("score", "said"),
    [
        (float("nan"), "NaN"),
        ("NaN", "is NaN"),
        (7, "outside 0..1"),
        (-0.1, "outside 0..1"),
        ("good", "is 'good'"),
        (None, "is missing"),
        ([], "is '\\[\\]'"),
    ],
)
def test_a_score_that_is_none_is_told_with_its_place(tmp_path: Path, score: object, said: str) -> None:
    path = jsonl(tmp_path / "a.jsonl", [*ROWS, {"prompt": "x", "small_score": score, "large_score": 1}])
    with pytest.raises(BadFile, match=said) as told:
        number(sample(path, NEEDED).rows[-1], "small_score")
    assert f"{path}: row 6" in str(told.value)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", b"", "holds no rows"),
        ("a.jsonl", b"\n\n", "holds no rows"),
        ("a.jsonl", b"[1]\n", "row 1 is no JSON object"),
        ("a.jsonl", b'{"prompt": "a"\n', "row 1 is not valid JSON"),
        ("a.jsonl", b'{"prompt": "\xff"}\n', "row 1 is not valid JSON"),
        ("a.csv", b"prompt\n\xff\n", "not UTF-8"),
        ("a.csv", b'prompt\n"a\n', "not valid CSV"),
        ("a.txt", b"x", "not .jsonl, .csv or .parquet"),
    ],
)
def test_what_is_no_such_file_is_told(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadFile, match=said):
        sample(tmp_path / name, ("prompt",))


def test_parquet_that_is_none_is_told(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    (tmp_path / "a.parquet").write_bytes(b"PAR1 or not")
    with pytest.raises(BadFile, match="not a parquet file"):
        sample(tmp_path / "a.parquet", ("prompt",))


def test_without_pyarrow_parquet_is_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    code = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from pathlib import Path\nfrom weighbridge.learning.files import BadFile, sample\n"
        "try: sample(Path('a.parquet'), ('prompt',))\nexcept BadFile as error: print(error)"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "pip install pyarrow" in run.stdout


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="there is no such file"):
        sample(tmp_path / "a.jsonl", ())
    (tmp_path / "b.jsonl").mkdir()
    with pytest.raises(BadFile, match="cannot be read"):
        sample(tmp_path / "b.jsonl", ())


def test_many_problems_are_told_by_the_first_few() -> None:
    with pytest.raises(BadFile, match=r"\.\.\. and 2 more in a\.jsonl") as told:
        files.all_of([f"row {i}" for i in range(7)], Path("a.jsonl"))
    assert str(told.value).count("\n") == 5
