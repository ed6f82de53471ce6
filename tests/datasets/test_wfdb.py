"""PTB-XL, its stand-in, and one's own WFDB records: what is read, and what is refused in one sentence."""

import csv
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wfdb
from hypothesis import given, settings
from hypothesis import strategies as st

from lapwing.datasets import beats, ptb_xl
from lapwing.datasets._wfdb import read_record
from lapwing.datasets.archive import pack
from lapwing.datasets.download import download
from lapwing.datasets.prepare import prepare
from lapwing.datasets.raw import write_manifest
from lapwing.errors import UserError
from lapwing.files import Array, read_arrays
from lapwing.records import prepare_records

SAMPLES = 8
LEADS = list(ptb_xl.LEADS)
CLASSES = {"NORM": "NORM", "IMI": "MI", "NDT": "STTC"}
STATEMENTS = [
    {"": "NORM", "diagnostic": "1.0", "diagnostic_class": "NORM"},
    {"": "IMI", "diagnostic": "1.0", "diagnostic_class": "MI"},
    {"": "SR", "diagnostic": "", "diagnostic_class": ""},
]
ROW = {"ecg_id": "1", "nurse": "0.0", "site": "2.0", "strat_fold": "3", "scp_codes": "{'NORM': 80.0}"}


def signals(number: int, leads: int = 12, samples: int = SAMPLES) -> Array:
    return np.random.default_rng(number).integers(-2000, 2000, (samples, leads)).astype(np.int16)


def write_record(path: Path, stored: Array, leads: list[str] = LEADS, **more: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    count = len(leads)
    about = {"fs": 100, "units": ["mV"] * count, "fmt": ["16"] * count, "adc_gain": [1000] * count, **more}
    wfdb.wrsamp(
        path.name, sig_name=leads, d_signal=stored, baseline=[0] * count, write_dir=str(path.parent), **about
    )


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_tree(tree: Path, *changes: dict[str, str], samples: int = SAMPLES) -> None:
    """A folder as PTB-XL's: one row and its record for each of `changes` of the first row."""
    rows = [
        {**ROW, "ecg_id": str(number), "filename_lr": f"records100/00000/{number:05d}_lr", **change}
        for number, change in enumerate(changes, start=1)
    ]
    write_csv(tree / ptb_xl.TABLE, rows)
    write_csv(tree / ptb_xl.STATEMENTS, STATEMENTS)
    for number, row in enumerate(rows, start=1):
        write_record(tree / row["filename_lr"], signals(number, samples=samples))


def read_tree(tree: Path) -> dict[str, Array]:
    archive = tree.parent / "archive.zip"
    pack(tree, ptb_xl.TREE, archive)
    return ptb_xl.read_archive(archive, SAMPLES)


# -- what is read -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("codes", "label"),
    [
        ("{'NORM': 100.0, 'SR': 0.0}", 0),
        ("{'IMI': 0.0, 'NORM': 0.0}", 0),
        ("{'IMI': 15.0, 'SR': 0.0}", 1),
        ("{'SR': 0.0}", 1),
        ("{}", 1),
    ],
)
def test_label_is_0_where_a_normal_statement_is_present_at_any_likelihood(codes: str, label: int) -> None:
    assert ptb_xl.label_of(codes, CLASSES) == label


def test_rows_with_a_nurse_come_in_the_order_of_the_table_with_the_last_fold_as_test(tmp_path: Path) -> None:
    changes: list[dict[str, str]] = [
        {"strat_fold": "10", "nurse": "1.0"},
        {"nurse": "11.0", "scp_codes": "{'IMI': 50.0}"},
        {"nurse": ""},
        {"site": ""},
    ]
    write_tree(tmp_path / "tree", *changes)
    arrays = read_tree(tmp_path / "tree")
    of = {number: (signals(number).T / 1000).astype(np.float32) for number in (1, 2, 4)}
    np.testing.assert_array_equal(arrays["train/inputs"], np.stack([of[2], of[4]]))
    np.testing.assert_array_equal(arrays["test/inputs"], of[1][None])
    found = {name: values.tolist() for name, values in arrays.items() if not name.endswith("inputs")}
    assert found == {
        "train/targets": [1, 0],
        "train/source": [11, 0],
        "train/record": [2, 4],
        "train/site": [2, ptb_xl.UNKNOWN],
        "test/targets": [0],
        "test/record": [1],
        "test/site": [2],
    }


def prepared_tree(folder: Path, *changes: dict[str, str], part: bool) -> Path:
    """What is prepared of a mirror that holds a tree of PTB-XL with these rows."""
    write_tree(folder / "mirror" / "ptb-xl" / ptb_xl.TREE, *changes, samples=ptb_xl.SAMPLES)
    write_csv(folder / "mirror" / "ptb-xl" / ptb_xl.TREE / "records500" / "large.csv", [ROW])
    download("ptb_xl", folder / "ptb_xl", [folder / "mirror"], True, [], part=part)
    prepare("ptb_xl", folder / "ptb_xl", folder / "out.safetensors", part=part)
    return folder / "out.safetensors"


def test_part_of_ptb_xl_is_no_whole(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^ptb_xl: it gives 3 rows in all, expected 20326; what is in "):
        prepared_tree(tmp_path, {}, {}, {"strat_fold": "10"}, part=False)


def test_part_of_ptb_xl_may_be_prepared_as_one(tmp_path: Path) -> None:
    arrays, about = read_arrays(prepared_tree(tmp_path, {}, {}, {"strat_fold": "10"}, part=True))
    assert (len(arrays["train/inputs"]), len(arrays["test/inputs"])) == (2, 1)
    assert about["classes"] == 1
    with zipfile.ZipFile(tmp_path / "ptb_xl" / ptb_xl.ARCHIVE) as packed:
        assert not [name for name in packed.namelist() if "records500" in name]


def test_part_of_ptb_xl_needs_something_to_train_on(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^ptb_xl: it gives no row to train on; what is in "):
        prepared_tree(tmp_path, {"strat_fold": "10"}, part=True)


def test_beats_go_through_the_reader_of_ptb_xl(tmp_path: Path) -> None:
    (tmp_path / "beats").mkdir()
    write_manifest(tmp_path / "beats", {}, "beats")
    prepare("beats", tmp_path / "beats", tmp_path / "beats.safetensors")
    arrays, about = read_arrays(tmp_path / "beats.safetensors")
    assert about["classes"] == 2
    assert about["recording"] == {"leads": LEADS, "units": ["mV"] * 12, "frequency": 100}
    assert np.bincount(arrays["train/source"]).tolist() == list(beats.SIZES)
    assert 0.4 < arrays["train/targets"].mean() < 0.6
    # An R peak stands out of lead II, by the mean of all records about 1 mV high.
    assert arrays["train/inputs"][:, 1].max(axis=1).mean() == pytest.approx(1.0, abs=0.15)
    assert len(np.unique(np.concatenate([arrays["train/record"], arrays["test/record"]]))) == 320


# -- what is refused --------------------------------------------------------------------------------

Change = Callable[[Path], Any]


def header(old: str, new: str) -> Change:
    """A change of the header of a record."""

    def change(stem: Path) -> None:
        path = stem.with_suffix(".hea")
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    return change


def stored(change: Callable[[bytes], bytes]) -> Change:
    """A change of the signals of a record."""

    def changed(stem: Path) -> None:
        path = stem.with_suffix(".dat")
        path.write_bytes(change(path.read_bytes()))

    return changed


def eleven_leads(stem: Path) -> None:
    write_record(stem, signals(2, 11), LEADS[:11])


def another_frequency(stem: Path) -> None:
    write_record(stem, signals(2), fs=500)


def a_sample_that_is_missing(stem: Path) -> None:
    missing = signals(2)
    missing[3, 4] = -(2**15)
    write_record(stem, missing)


def a_second_signal_in_format_516(stem: Path) -> None:
    path = stem.with_suffix(".hea")
    first, second = "00002_lr.dat 16 ", "00002_lr.dat 516 "
    before, *after = path.read_text().split(first)
    path.write_text(before + first + after[0] + second + first.join(after[1:]))


def several_segments(stem: Path) -> None:
    stem.with_suffix(".hea").write_text("00002_lr/2 12 100 16\n00001_lr 8\n00003_lr 8\n")


FIRST = "00002_lr 12 100 8"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (stored(lambda content: content[:-24]), "is damaged "),
        (stored(lambda content: content[:-1] + b"\x55"), "is damaged .the checksum of signal V6 is "),
        (lambda stem: stem.with_suffix(".dat").unlink(), "has no .dat file in archive.zip"),
        (lambda stem: stem.with_suffix(".hea").unlink(), "has no .hea file in archive.zip"),
        (eleven_leads, "has leads I, II, .* V5, expected I, II, .* V5, V6"),
        (another_frequency, "has frequency 500, expected 100"),
        (a_sample_that_is_missing, "holds a sample that is marked as missing"),
        (
            header(FIRST, "00002_lr 13 100 8"),
            "has 13 signals in the first line of its header, and describes 12",
        ),
        (header(FIRST, "00002_lr 12 100 9"), "is damaged"),
        (header(FIRST, "00002_lr 12 100 999999999999"), "has a header that promises 999999999999 samples"),
        (header(FIRST, "00002_lr 12 100"), "has a header that does not say how many samples there are"),
        (several_segments, "has several segments"),
        (header(FIRST, "00002_lr/2 12 100 8"), "is damaged .invalid syntax in segment line"),
        (header(FIRST, "nonsense"), "is damaged"),
        (header("00002_lr.dat 16", "00002_lr.dat 16x2"), "are skewed or have several samples in a frame"),
        (
            header("00002_lr.dat 16", "00002_lr.dat 516"),
            "stores samples in format 516, which is not read here",
        ),
        (a_second_signal_in_format_516, "stores samples in format 516, which is not read here"),
        (
            header("00002_lr.dat", "../../secret.dat"),
            "names the file '../../secret.dat', which is no plain name",
        ),
        (header("00002_lr.dat", "/etc/passwd"), "names the file '/etc/passwd', which is no plain name"),
        (
            header("00002_lr.dat", "s3://bucket/x.dat"),
            "names the file 's3://bucket/x.dat', which is no plain",
        ),
        (header("00002_lr.dat", "00001_lr.dat"), "has no file 00001_lr.dat"),
        (header("(0)/mV", "(0)/uV"), "has units uV, .*, expected mV, "),
    ],
)
def test_damaged_record_is_named(tmp_path: Path, change: Change, sentence: str) -> None:
    write_tree(tmp_path / "tree", {}, {}, {})
    change(tmp_path / "tree" / "records100" / "00000" / "00002_lr")
    with pytest.raises(UserError, match=f"^The record records100/00000/00002_lr .*{sentence}") as refused:
        read_tree(tmp_path / "tree")
    assert str(refused.value).count("\n") == 0


def test_missing_record_is_named(tmp_path: Path) -> None:
    write_tree(tmp_path / "tree", {}, {}, {})
    for ending in (".hea", ".dat"):
        (tmp_path / "tree" / "records100" / "00000" / f"00003_lr{ending}").unlink()
    with pytest.raises(UserError, match=r"^The record records100/00000/00003_lr is not there\.$"):
        read_tree(tmp_path / "tree")


@pytest.mark.parametrize(
    "codes",
    [
        "__import__('os').system('touch run')",
        "{'NORM': print('run')}",
        "['NORM']",
        "{1: 2}",
        "{'NORM': 1",
        "{**{'NORM': 1}}",
        "(" * 3000,
        "{'NORM': 1" + " " * 5000 + "}",
    ],
)
def test_code_in_the_statements_is_never_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], codes: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_tree(tmp_path / "tree", {}, {"scp_codes": codes})
    with pytest.raises(UserError, match="row of ecg_id '2' cannot be read: scp_codes is no dictionary of"):
        read_tree(tmp_path / "tree")
    assert not (tmp_path / "run").exists()
    assert not capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"nurse": "Anna"}, r"ptbxl_database.csv: the row of ecg_id '2' cannot be read: could not convert"),
        ({"strat_fold": "1.5"}, r"the row of ecg_id '2' cannot be read: 1.5 is no whole number"),
        ({"nurse": "1e999"}, r"the row of ecg_id '2' cannot be read"),
        ({"filename_lr": "records100/00000/00001_lr"}, "records100/00000/00001_lr has two rows in the table"),
    ],
)
def test_row_that_cannot_be_read_is_named(tmp_path: Path, change: dict[str, str], sentence: str) -> None:
    write_tree(tmp_path / "tree", {}, change)
    with pytest.raises(UserError, match=sentence):
        read_tree(tmp_path / "tree")


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        (ptb_xl.TABLE, b"ecg_id,nurse\n1,0.0\n", "ptbxl_database.csv: row 1 has no column 'site'"),
        (ptb_xl.TABLE, b"\xff\xfe\x00", "ptbxl_database.csv is no table of comma-separated values"),
        (
            ptb_xl.STATEMENTS,
            b",diagnostic\nNORM,1\n",
            "scp_statements.csv: row 1 has no column 'diagnostic_class'",
        ),
        (ptb_xl.TABLE, None, f"archive.zip lacks {ptb_xl.TREE}/ptbxl_database.csv"),
    ],
)
def test_damaged_table_is_named(tmp_path: Path, name: str, content: bytes | None, sentence: str) -> None:
    write_tree(tmp_path / "tree", {})
    if content is None:
        (tmp_path / "tree" / name).unlink()
    else:
        (tmp_path / "tree" / name).write_bytes(content)
    with pytest.raises(UserError, match=sentence):
        read_tree(tmp_path / "tree")


@pytest.fixture(scope="module")
def whole_record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("record") / "whole"
    write_record(path, signals(0))
    return path


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_whatever_a_header_says_there_are_signals_or_one_sentence(
    whole_record: Path, data: st.DataObject
) -> None:
    text = whole_record.with_suffix(".hea").read_bytes()
    start = data.draw(st.integers(0, len(text)))
    stop = data.draw(st.integers(start, min(len(text), start + 20)))
    new = data.draw(st.binary(max_size=12) | st.from_regex(rb"[0-9x:+(){}/. -]{1,12}", fullmatch=True))
    damaged = whole_record.with_name("damaged")
    damaged.with_suffix(".hea").write_bytes(text[:start] + new + text[stop:])
    assert is_signals(damaged) or is_one_sentence(damaged)


def is_signals(path: Path) -> bool:
    try:
        form, found = read_record(path, "damaged")
    except UserError:
        return False
    return found.shape == (len(form.leads), form.samples) and found.dtype == np.float32


def is_one_sentence(path: Path) -> bool:
    with pytest.raises(UserError, match=r"\AThe record damaged [^\n]+\.\Z"):
        read_record(path, "damaged")
    return True


# -- real data --------------------------------------------------------------------------------------


@pytest.mark.real_data
def test_all_records_of_the_mirror_are_what_their_bytes_say(mirror: Path, tmp_path: Path) -> None:
    tree, archive = mirror / "ecg" / "ptb-xl", tmp_path / "archive.zip"
    pack(tree, ptb_xl.TREE, archive)
    arrays = ptb_xl.read_archive(archive, ptb_xl.SAMPLES)
    for split, rows in (("train", 306), ("test", 48)):
        numbers = arrays[f"{split}/record"].tolist()
        assert len(numbers) == rows
        for number, found in zip(numbers, arrays[f"{split}/inputs"], strict=True):
            raw = np.fromfile(tree / "records100" / "00000" / f"{number:05d}_lr.dat", "<i2").reshape(-1, 12)
            np.testing.assert_array_equal(found, (raw.T / 1000).astype(np.float32))
    assert np.bincount(arrays["train/source"]).tolist() == [88, 27, 111, 10, 9, 8, 8, 8, 9, 4, 9, 15]
    assert arrays["train/targets"].mean() == pytest.approx(104 / 306)
    assert set(arrays["train/site"]) <= {0, 1, 2, 3}


@pytest.mark.real_data
def test_all_400_records_are_read_one_by_one(mirror: Path) -> None:
    """Those without a nurse too."""
    tree = mirror / "ecg" / "ptb-xl"
    for number in range(1, 401):
        form, found = read_record(tree / "records100" / "00000" / f"{number:05d}_lr", f"{number}")
        raw = np.fromfile(tree / "records100" / "00000" / f"{number:05d}_lr.dat", "<i2").reshape(-1, 12)
        np.testing.assert_array_equal(found, (raw.T / 1000).astype(np.float32))
        assert (form.leads, form.samples, form.frequency) == (ptb_xl.LEADS, 1000, 100)


@pytest.mark.real_data
def test_record_100_of_mit_bih_is_read_in_its_packed_format(mirror: Path) -> None:
    form, found = read_record(mirror / "ecg" / "mitdb" / "100", "100")
    assert (form.leads, form.frequency, found.shape) == (("MLII", "V5"), 360, (2, 650_000))
    assert found[0, :3].tolist() == pytest.approx([-0.145] * 3)  # 995 at a baseline of 1024 and a gain of 200


# -- one's own --------------------------------------------------------------------------------------


def own_folder(folder: Path, *lines: str, columns: str = "record,label,source,split") -> Path:
    for number in (1, 2, 3, 4):
        write_record(folder / "here" / f"r{number}", signals(number, 2), ["I", "MLII"])
    (folder / "table.csv").write_text("\n".join([columns, *lines]) + "\n")
    return folder / "table.csv"


LINES = ("here/r1,sick,10,train", "here/r2,well,9,test", "here/r3,well,9,train")


def test_own_records_become_a_prepared_file(tmp_path: Path) -> None:
    prepare_records(own_folder(tmp_path, *LINES), tmp_path / "out.safetensors")
    arrays, about = read_arrays(tmp_path / "out.safetensors")
    assert (about["labels"], about["sources"], about["classes"]) == (["sick", "well"], ["9", "10"], 2)
    assert about["recording"] == {"leads": ["I", "MLII"], "units": ["mV", "mV"], "frequency": 100}
    assert arrays["train/targets"].tolist() == [0, 1]
    assert arrays["train/source"].tolist() == [1, 0]
    assert arrays["test/targets"].tolist() == [1]
    expected = (signals(2, 2).T / 1000).astype(np.float32)
    np.testing.assert_array_equal(arrays["test/inputs"], expected[None])


def test_spaces_around_the_words_of_a_table_mean_nothing(tmp_path: Path) -> None:
    table = own_folder(tmp_path, " here/r1 ,sick ,A , train", "here/r2,sick,A,train", "here/r3, well,B,test ")
    arrays, about = prepare_records(table, tmp_path / "out.safetensors")
    assert (about["labels"], about["sources"]) == (["sick", "well"], ["A", "B"])
    assert arrays["train/source"].tolist() == [0, 0]
    assert arrays["test/targets"].tolist() == [1]


def test_each_record_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    read = wfdb.rdrecord

    def counted(path: str, **options: Any) -> Any:
        opened.append(Path(path).name)
        return read(path, **options)

    monkeypatch.setattr(wfdb, "rdrecord", counted)
    prepare_records(own_folder(tmp_path, *LINES), tmp_path / "out.safetensors")
    assert sorted(opened) == ["r1", "r2", "r3"]


def test_own_records_without_a_split_are_all_for_training(tmp_path: Path) -> None:
    table = own_folder(tmp_path, "here/r1,0,a", "here/r4,1,b", columns="record,label,source")
    arrays, _ = prepare_records(table, tmp_path / "out.safetensors")
    assert set(arrays) == {"train/inputs", "train/targets", "train/source"}


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("here/r9,well,9,train", "The record here/r9 has no file r9.hea"),
        ("../r1,well,9,train", "The record ../r1 lies outside the folder of its table"),
        ("/etc/passwd,well,9,train", "The record /etc/passwd lies outside the folder of its table"),
        ("here/r1,well,9,train", "The record here/r1 has two rows in the table"),
        ("./here/r1,well,9,train", "The record here/r1 has two rows in the table"),
        ("here//../here/r4,well,9,train", "The record here/../here/r4 lies outside the folder of its table"),
        (".,well,9,train", "The record . lies outside the folder of its table"),
        (",well,9,train", "table.csv: row 4 has an empty record."),
        ("here/r4,,9,train", "table.csv: row 4 has an empty label."),
        ("here/r4,well, ,train", "table.csv: row 4 has an empty source."),
        ("here/r4,well,9,", "table.csv: row 4 has an empty split."),
        ("here/long,well,9,train", "The record here/long has samples 16, expected 8"),
        ("here/r4,well,9,validation", "the split of here/r4 is train or test, not 'validation'"),
        ("here/r4,well", "table.csv: row 4 has no column 'source'"),
    ],
)
def test_own_table_that_cannot_be_used(tmp_path: Path, line: str, sentence: str) -> None:
    table = own_folder(tmp_path, *LINES, line)
    write_record(tmp_path / "here" / "long", np.tile(signals(4, 2), (2, 1)), ["I", "MLII"])
    with pytest.raises(UserError, match=sentence):
        prepare_records(table, tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize(
    ("lines", "sentence"), [((), "has no row to train on"), (LINES[1:2], "has no row to train on")]
)
def test_own_table_needs_something_to_train_on(tmp_path: Path, lines: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        prepare_records(own_folder(tmp_path, *lines), tmp_path / "out.safetensors")


def test_own_table_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"table.csv cannot be read: No such file"):
        prepare_records(tmp_path / "table.csv", tmp_path / "out.safetensors")
