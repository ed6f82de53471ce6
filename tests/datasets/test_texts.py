"""From texts to numbers of words, and the datasets that consist of texts."""

import csv
import os
import re
import socket
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from lapwing.datasets import (
    datasets,
    generated_raters,
    generated_reviews,
    goemotions,
    goemotions_agreed,
    imdb,
)
from lapwing.datasets._text import numbered, text_arrays, tokenised, vocabulary
from lapwing.datasets.download import download
from lapwing.datasets.prepare import prepare, words_of
from lapwing.errors import UserError
from lapwing.files import Array, content_hash, read_arrays
from tests.conftest import MIRROR
from tests.datasets.conftest import tar_of


def prepared(key: str, tmp_path: Path, mirrors: Sequence[Path] = (), **more: Any) -> dict[str, Array]:
    download(key, tmp_path / key, list(mirrors), True, [], **more)
    prepare(key, tmp_path / key, tmp_path / "out.safetensors", **more)
    return read_arrays(tmp_path / "out.safetensors")[0]


def words(arrays: dict[str, Array], split: str, row: int) -> list[str]:
    """A text as words, without those that fill it up."""
    known = words_of(arrays["vocabulary"])
    return [known[number] for number in arrays[f"{split}/inputs"][row] if number]


# -- words and their numbers -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("It's GOOD.", ["it", "'", "s", "good", "."]),
        ('a "fine"  film<br /><br />truly', ["a", "fine", "film", "truly"]),
        ("no; yes: (maybe), why?!", ["no", "yes", "(", "maybe", ")", ",", "why", "?", "!"]),
        ("tab\tand\nline", ["tab", "and", "line"]),
        ("", []),
        ("<br>", ["<br>"]),
    ],
)
def test_texts_fall_into_words_as_basic_english_has_them(text: str, tokens: list[str]) -> None:
    assert list(tokenised([text])) == [tokens]


def test_frequent_words_come_first_and_ties_in_the_order_of_the_alphabet() -> None:
    assert vocabulary(["b a c c", "c b d Zoé"]) == ["<pad>", "<unk>", "c", "b", "a", "d", "zoé"]


def test_words_that_are_called_as_the_special_ones_are_those() -> None:
    assert vocabulary(["<unk> <pad> <unk> a"]) == ["<pad>", "<unk>", "a"]


def test_texts_are_cut_filled_up_and_unknown_where_no_text_for_training_has_the_word() -> None:
    arrays = text_arrays({"train": ["a b a", ""], "test": ["b new a a a"]}, 4, vocabulary_of=["train"])
    assert words_of(arrays["vocabulary"]) == ["<pad>", "<unk>", "a", "b"]
    assert arrays["train/inputs"].tolist() == [[2, 3, 2, 0], [0, 0, 0, 0]]
    assert arrays["test/inputs"].tolist() == [[3, 1, 2, 2]]
    assert arrays["test/inputs"].dtype == np.int32


@given(texts=st.lists(st.text(max_size=40), max_size=8), length=st.integers(1, 12))
@hypothesis_settings(deadline=None, max_examples=100)
def test_numbers_say_the_first_words_of_every_text(texts: list[str], length: int) -> None:
    known = vocabulary(texts)
    assert len(set(known)) == len(known)
    numbers = numbered(texts, known, length)
    for row, tokens in zip(numbers, tokenised(texts), strict=True):
        assert [known[number] for number in row] == (tokens + ["<pad>"] * length)[:length]


# -- film reviews ----------------------------------------------------------------------------------

REVIEWS = {
    "aclImdb/train/pos/10_9.txt": b"Good film",
    "aclImdb/train/pos/9_10.txt": "Très bon".encode(),
    "aclImdb/train/neg/0_3.txt": b"Bad film",
    "aclImdb/train/unsup/0_0.txt": b"Neither",
    "aclImdb/train/urls_pos.txt": b"http://example.org",
    "aclImdb/test/neg/0_2.txt": b"Film, bad film",
    "aclImdb/test/pos/0_8.txt": b"Unheard",
}


def reviews(tmp_path: Path, **changes: Any) -> dict[str, Array]:
    path = tmp_path / "aclImdb_v1.tar.gz"
    path.write_bytes(tar_of(changes.get("members", REVIEWS)))
    return imdb.read(tmp_path)


def test_reviews_against_come_first_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    arrays = reviews(tmp_path)
    assert arrays["train/inputs"].shape == (3, 256)
    assert [words(arrays, "train", row) for row in range(3)] == [
        ["bad", "film"], ["très", "bon"], ["good", "film"]
    ]  # fmt: skip
    assert arrays["train/targets"].tolist() == [0, 1, 1]
    assert words(arrays, "test", 0) == ["film", "<unk>", "bad", "film"]
    assert words(arrays, "test", 1) == ["<unk>"]
    assert arrays["test/targets"].tolist() == [0, 1]


@pytest.mark.parametrize("missing", ["train/pos", "train/neg", "test/pos", "test/neg"])
def test_archive_without_reviews_of_a_kind_is_told(missing: str, tmp_path: Path) -> None:
    members = {name: content for name, content in REVIEWS.items() if missing not in name}
    with pytest.raises(UserError, match=f"aclImdb_v1.tar.gz holds no review aclImdb/{missing}/<number>"):
        reviews(tmp_path, members=members)


def test_review_that_is_no_text_is_named(tmp_path: Path) -> None:
    members = {**REVIEWS, "aclImdb/test/pos/1_7.txt": b"\xff\xfe"}
    with pytest.raises(UserError, match=r"aclImdb_v1.tar.gz: aclImdb/test/pos/1_7.txt is no UTF-8 text"):
        reviews(tmp_path, members=members)


def test_archive_that_unpacks_to_more_than_the_memory_should_hold_is_refused(tmp_path: Path) -> None:
    large = tarfile.TarInfo("aclImdb/train/unsup/1_0.txt")
    large.size = 2**30
    (tmp_path / "aclImdb_v1.tar.gz").write_bytes(tar_of({**REVIEWS, "large": large}))
    with pytest.raises(UserError, match=f"it unpacks to more than the {2**30} bytes"):
        imdb.read(tmp_path)


def test_generated_reviews_are_files_of_the_official_layout(tmp_path: Path) -> None:
    generated_reviews.write_reviews(tmp_path / "aclImdb", {"train": 20, "test": 6})
    paths = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.txt"))
    assert len(paths) == 26
    assert all(imdb.REVIEW.fullmatch(path) for path in paths)
    text = " ".join(path.read_text() for path in tmp_path.rglob("*.txt"))
    assert all(mark in text for mark in ("<br />", '"', "!", "?", ";", ":", ","))
    lengths = [len(path.read_text().replace("<br />", "").split()) for path in tmp_path.rglob("*.txt")]
    assert min(lengths) >= 8


def test_generated_reviews_tell_their_opinion(tmp_path: Path) -> None:
    """Counting the words of each opinion, turned round behind a negator, finds nearly all labels."""
    arrays = prepared("generated_reviews", tmp_path)
    assert np.bincount(arrays["train/targets"]).tolist() == [750, 750]
    assert np.bincount(arrays["test/targets"]).tolist() == [250, 250]
    known = words_of(arrays["vocabulary"])
    weight = {word: sign for sign, opinion in ((-1, "neg"), (1, "pos")) for word in told(opinion)}
    weights = np.array([weight.get(word, 0) for word in known])
    turns = np.isin(known, generated_reviews.NEGATORS)
    for split in ("train", "test"):
        inputs = arrays[f"{split}/inputs"]
        before = np.pad(turns[inputs], ((0, 0), (1, 0)))[:, :-1]
        score = (weights[inputs] * np.where(before, -1, 1)).sum(1)
        assert np.mean((score > 0) == arrays[f"{split}/targets"]) > 0.95


def told(opinion: str) -> list[str]:
    found = generated_reviews.TELLING[opinion].split()
    assert len(set(found)) == 40
    return found


@pytest.mark.parametrize(
    ("key", "digest"),
    [
        ("generated_reviews", "e6c708d3e779248d3eadb9fef9273c88f5d03a1773a823706bb36ebe5e4fdc8c"),
        ("generated_raters", "123237d7233f4c00ea6adfa97b2a67ad18c407bc481d5b06b06c105e4f438013"),
    ],
)
def test_generated_texts_are_those_of_version_1(key: str, digest: str, tmp_path: Path) -> None:
    prepared(key, tmp_path)
    assert content_hash(tmp_path / "out.safetensors") == digest


@pytest.mark.real_data
def test_part_of_the_reviews(tmp_path: Path) -> None:
    arrays = prepared("imdb", tmp_path, [MIRROR], part=True)
    assert arrays["train/inputs"].shape == arrays["test/inputs"].shape == (5000, 256)
    assert np.bincount(arrays["train/targets"]).tolist() == [2500, 2500]
    assert arrays["train/targets"][:2500].max() == 0
    known = words_of(arrays["vocabulary"])
    assert known[:7] == ["<pad>", "<unk>", "the", ".", ",", "and", "a"]
    assert np.mean(arrays["test/inputs"] == 1) < 0.03
    assert (arrays["train/inputs"] != 1).all()


# -- comments with their raters ----------------------------------------------------------------------

Row = dict[str, Any]


def row(text: str, rater: int, *emotions: str) -> Row:
    flags = {name: int(name in emotions) for name in goemotions.EMOTIONS}
    rest = {"id": "e", "author": "a", "created_utc": 1548381039.0, "example_very_unclear": False}
    return {"text": text, **rest, "rater_id": rater, **flags}


def write(path: Path, rows: Sequence[Row]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)


def tables(tmp_path: Path, rows: Sequence[Row]) -> list[Path]:
    """The rows in three tables, one after another."""
    paths = [tmp_path / name for name in goemotions.FILES]
    third = max(1, len(rows) // 3)
    for path, some in zip(paths, (rows[:third], rows[third : 2 * third], rows[2 * third :]), strict=True):
        write(path, some)
    return paths


def test_comments_keep_one_emotion_and_their_rater(tmp_path: Path) -> None:
    emotions = goemotions.EMOTIONS
    rows = [row(f"word{number}", number % 3, emotions[number % 28]) for number in range(30)]
    undecided = [row("two", 0, "joy", "love"), row("none", 1)]
    tables(tmp_path, [*rows[:5], undecided[0], *rows[5:], undecided[1]])
    arrays = goemotions.read(tmp_path)
    assert arrays["train/inputs"].shape == (24, 128)
    assert arrays["test/inputs"].shape == (6, 128)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(42)).tolist()
    for split, numbers in (("train", order[:24]), ("test", order[24:])):
        assert [words(arrays, split, place) for place in range(len(numbers))] == [
            [f"word{number}"] for number in numbers
        ]
        assert arrays[f"{split}/targets"].tolist() == [number % 28 for number in numbers]
    assert arrays["train/source"].tolist() == [number % 3 for number in order[:24]]
    assert len(words_of(arrays["vocabulary"])) == 2 + 30  # those of the test are known too


def test_comments_may_hold_what_separates_columns_and_rows(tmp_path: Path) -> None:
    texts = ['a, "b"', "c\nd", "null", "NA", "e", "1", "2", "3"]
    tables(tmp_path, [row(text, 0, "fear") for text in texts])
    arrays = goemotions.read(tmp_path)
    found = {" ".join(words(arrays, split, n)) for split in ("train", "test") for n in range(2)}
    found |= {" ".join(words(arrays, "train", n)) for n in range(6)}
    assert found == {"a , b", "c d", "null", "na", "e", "1", "2", "3"}


def test_tables_are_read_without_the_hub_and_the_process_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *address, **_: asked.append(address))
    monkeypatch.setattr(socket.socket, "connect", lambda _, address: asked.append(address))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    tables(tmp_path, [row("a", 0, "joy")] * 5)
    before = dict(os.environ)
    goemotions.read(tmp_path)
    assert dict(os.environ) == before
    assert asked == []


NO_TABLE = " is no table of comma-separated values with text, rater_id and a column of whole numbers for each"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"rater_id": "me"}, NO_TABLE),
        ({"rater_id": ""}, NO_TABLE),
        ({"joy": 0.5}, NO_TABLE),
        ({"joy": 2}, ": an emotion is 0 or 1; one of them is 2."),
    ],
)
def test_table_that_says_something_else_is_told(change: Row, sentence: str, tmp_path: Path) -> None:
    tables(tmp_path, [row("a", 0, "joy"), {**row("b", 0, "joy"), **change}, row("c", 1, "fear")])
    with pytest.raises(UserError, match=f"^{re.escape('goemotions_2.csv' + sentence)}"):
        goemotions.read(tmp_path)


@pytest.mark.parametrize("content", ["", "text,rater_id\na,0\n", "<html>\nno table</html>\n", '"text\n'])
def test_what_is_no_table_is_told(content: str, tmp_path: Path) -> None:
    paths = tables(tmp_path, [row("a", 0, "joy")] * 3)
    paths[1].write_text(content)
    with pytest.raises(UserError, match=f"^{re.escape('goemotions_2.csv' + NO_TABLE)}"):
        goemotions.read(tmp_path)


def test_missing_tables_of_raters_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"goemotions_1\.csv"):
        download("goemotions", tmp_path / "raw", [], True, [])


def test_generated_raters_are_of_geometric_sizes(tmp_path: Path) -> None:
    arrays = prepared("generated_raters", tmp_path)
    sizes = np.bincount(arrays["train/source"])
    assert len(sizes) == 20
    np.testing.assert_allclose(sizes, 0.8 * np.geomspace(3, 400, 20), rtol=0.25, atol=2)
    assert set(arrays["train/targets"]) == set(range(6))
    assert arrays["train/inputs"].shape == (1400, 16)


def test_generated_tables_have_the_official_columns(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in goemotions.FILES]
    generated_raters.write_tables(paths)
    for path in paths:
        with path.open(newline="") as file:
            header = next(csv.reader(file))
        assert header[:10] == [
            "text", "id", "author", "subreddit", "link_id", "parent_id", "created_utc", "rater_id",
            "example_very_unclear", "admiration",
        ]  # fmt: skip
        assert set(header[9:]) < set(goemotions.EMOTIONS)


# -- comments on which raters agreed -----------------------------------------------------------------


def agreed(tmp_path: Path, train: str) -> dict[str, Array]:
    (tmp_path / "train.tsv").write_text(train, encoding="utf-8", newline="")
    (tmp_path / "dev.tsv").write_text("dev\t0\tid\n")
    (tmp_path / "test.tsv").write_text("test\t27\tid\n")
    return goemotions_agreed.read(tmp_path)


def test_agreed_comments_keep_one_label(tmp_path: Path) -> None:
    many = "".join(f'w{number} \x85 "x\t{number % 28}\tid\n' for number in range(400))
    arrays = agreed(tmp_path, f"both\t3,4\tid\n{many}")
    assert arrays["train/targets"].tolist() == [number % 28 for number in range(400)]
    assert words(arrays, "train", 1) == ["w1", "x"]
    assert [words(arrays, "test", place) for place in range(2)] == [["dev"], ["test"]]
    assert arrays["test/targets"].tolist() == [0, 27]
    assert np.bincount(arrays["train/source"]).min() >= 1


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("no tabs", "train.tsv, line 2: no text, labels and id, with tabs between"),
        ("a\tjoy\tid", "train.tsv, line 2: no text, labels and id, with tabs between"),
        ("a\t28\tid", "train.tsv, line 2: a label lies between 0 and 27, not 28"),
        ("a\t3,-1\tid", "train.tsv, line 2: a label lies between 0 and 27, not 3,-1"),
    ],
)
def test_line_that_is_no_comment_is_told(line: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"^{re.escape(sentence)}"):
        agreed(tmp_path, f"fine\t1\tid\n{line}\n")


@pytest.mark.parametrize("rows", [1, 81])
def test_too_few_rows_for_the_dealt_sources_are_refused(rows: int, tmp_path: Path) -> None:
    sentence = rf"goemotions_agreed need at least as many training rows \(there are {rows}\)"
    with pytest.raises(UserError, match=sentence):
        agreed(tmp_path, "a\t0\tid\n" * rows)


@given(rows=st.integers(82, 1000) | st.integers(1000, 200_000))
@hypothesis_settings(deadline=None, max_examples=20)
def test_dealt_sources_are_as_many_as_the_raters(rows: int) -> None:
    sizes = goemotions_agreed.rater_sizes(rows)
    assert len(sizes) == 82
    assert sizes.sum() == rows
    assert sizes.min() >= 1
    assert (np.diff(sizes) >= 0).all()


def test_dealt_sources_are_about_as_unequal_as_the_raters() -> None:
    """Published of the training rows of the raters: mean 1676, deviation 1477, largest 7479."""
    sizes = goemotions_agreed.rater_sizes(137_456)
    assert sizes.mean() == pytest.approx(1676, abs=1)
    assert sizes.std(ddof=1) == pytest.approx(1477, rel=0.02)
    assert sizes.max() == pytest.approx(7479, rel=0.02)
    assert sizes.min() < 30


@pytest.mark.real_data
def test_agreed_comments(tmp_path: Path) -> None:
    arrays = prepared("goemotions_agreed", tmp_path, [MIRROR])
    assert words(arrays, "train", 0)[:5] == ["my", "favourite", "food", "is", "anything"]
    assert np.bincount(arrays["train/targets"])[27] == 12_823
    assert np.array_equal(np.sort(np.bincount(arrays["train/source"])), goemotions_agreed.rater_sizes(36_308))
    assert (arrays["train/inputs"] != 0).sum(1).max() < 64


@pytest.mark.parametrize(
    "key", ["imdb", "goemotions", "goemotions_agreed", "generated_reviews", "generated_raters"]
)
def test_datasets_of_texts_say_so(key: str) -> None:
    dataset = datasets.get(key)
    assert dataset.inputs == "tokens"
    assert len(dataset.input_shape) == 1
