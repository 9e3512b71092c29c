from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfkeras.evaluation import PairList, all_pairs, read_pairs, sample_pairs, stratified_folds
from gfkeras.evaluation.pair_list import _unrank


def write(folder, text, name="pairs.txt"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def touch(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_lfw_folds(tmp_path):
    touch(tmp_path, "Ann/Ann_0001.jpg", "Ann/Ann_0002.png", "Bo_Li/Bo_Li_0003.JPEG")
    text = "2\t1\nAnn\t1\t2\nAnn\t1\tBo_Li\t3\nBo_Li\t3\t4\nBo_Li\t3\tAnn\t2\n"
    pairs = read_pairs(write(tmp_path, text), tmp_path)
    found = [str(path.relative_to(tmp_path)) for path in pairs.first]
    other = [str(path.relative_to(tmp_path)) for path in pairs.second]
    assert found == ["Ann/Ann_0001.jpg"] * 2 + ["Bo_Li/Bo_Li_0003.JPEG"] * 2
    # A missing file keeps the first suffix. Evaluation lists it as skipped.
    expected = ["Ann/Ann_0002.png", "Bo_Li/Bo_Li_0003.JPEG", "Bo_Li/Bo_Li_0004.jpg"]
    assert other == [*expected, "Ann/Ann_0002.png"]
    assert pairs.same.tolist() == [True, False, True, False]
    assert pairs.fold.tolist() == [0, 0, 1, 1]
    assert (len(pairs), pairs.genuine, pairs.impostor, pairs.folds) == (4, 2, 2, 2)
    assert len(pairs.files()) == 4


def test_lfw_development_list_is_split_into_ten_folds(tmp_path):
    lines = ["25", *(f"P{i} 1 2" for i in range(25)), *(f"P{i} 1 Q{i} 1" for i in range(25))]
    pairs = read_pairs(write(tmp_path, "\n".join(lines)), tmp_path)
    assert pairs.folds == 10
    for fold in range(10):
        here = pairs.same[pairs.fold == fold]
        assert here.sum() in (2, 3)
        assert (~here).sum() in (2, 3)
    # Neighbours stay together.
    assert (np.diff(pairs.fold[pairs.same]) >= 0).all()


def test_blanks_in_names_with_tabs_and_a_byte_order_mark(tmp_path):
    text = "\ufeff1\t1\r\nAnn Lee\t1\t2\r\n\r\nAnn Lee\t1\tBo\t1\r\n"
    pairs = read_pairs(write(tmp_path, text), tmp_path)
    assert pairs.second[0] == tmp_path / "Ann Lee" / "Ann Lee_0002.jpg"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty file"),
        ("\n \n", "empty file"),
        ("0 300\n", "line 1: expected numbers of folds and pairs of at least 1"),
        ("1 1\nAnn 1 2\n", "line 2: expected 2 pairs.*Received: 1"),
        ("1 1\nAnn 1 2\nAnn 1 Bo 1\nBo 1 2\n", "line 4: expected 2 pairs.*Bo 1 2"),
        ("1 1\nAnn 1 Bo 1\nAnn 1 2\n", "line 2: expected a genuine pair.*Ann 1 Bo 1"),
        ("1 1\nAnn 1 2\nAnn 1 2\n", "line 3: expected an impostor pair.*Ann 1 2"),
        ("1 1\nAnn one 2\nAnn 1 Bo 1\n", "line 2: expected a genuine pair.*from 1"),
        ("1 1\nAnn 0 2\nAnn 1 Bo 1\n", "line 2: .*from 1"),
        ("1 1\n\nAnn 1 2\nAnn 1 Ann 2\n", "line 4: expected an impostor pair.*of two people"),
        ("Ann 1 2\n", "line 1: expected the first line of LFW"),
        ("first,second\na,b\n", "line 1: expected.*columns"),
        ("first,second,same,folds\na,b,1,0\n", "line 1: expected.*columns"),
        ("first,second,same,same\na,b,1,0\n", "line 1: expected.*columns"),
        ("first,second,same\n", "expected pairs after the first line"),
        ("first,second,same\na,b\n", "line 2: expected 3 values.*a,b"),
        ("first,second,same\na,b,perhaps\n", "line 2: expected same to be.*perhaps"),
        ("first,second,same\na,b,1\na,,1\n", "line 3: expected two paths"),
        ("first,second,same,fold\na,b,1,x\n", "line 2: expected fold.*'x'"),
        ('first,second,same\n"a,b,1\n', "line 2: expected ','-separated"),
    ],
)
def test_malformed_files_name_the_line(tmp_path, text, words):
    path = write(tmp_path, text)
    with pytest.raises(ValueError, match=words) as raised:
        read_pairs(path, tmp_path)
    assert str(path) in str(raised.value)


def test_missing_files_and_files_that_are_not_text(tmp_path):
    with pytest.raises(ValueError, match=r"`file`.*nothing\.txt"):
        read_pairs(tmp_path / "nothing.txt", tmp_path)
    with pytest.raises(ValueError, match=r"`root`.*nowhere"):
        read_pairs(write(tmp_path, "1 1"), tmp_path / "nowhere")
    (tmp_path / "binary.txt").write_bytes(b"\xfe\x00pairs")
    with pytest.raises(ValueError, match="UTF-8"):
        read_pairs(tmp_path / "binary.txt", tmp_path)


def test_csv_and_tsv(tmp_path):
    text = 'same,First,second,fold\n1,a.png,"b, c.png",3\nno,a.png,d/e.png,7\nTRUE,x,y,3\n'
    pairs = read_pairs(write(tmp_path, text, "pairs.csv"), tmp_path)
    assert pairs.second == [tmp_path / "b, c.png", tmp_path / "d/e.png", tmp_path / "y"]
    assert pairs.same.tolist() == [True, False, True]
    assert pairs.fold.tolist() == [3, 7, 3]
    text = "first\tsecond\tsame\na b.png\tc.png\t0\na.png\tc.png\t1\n"
    pairs = read_pairs(write(tmp_path, text, "pairs.tsv"), tmp_path)
    assert pairs.first[0] == tmp_path / "a b.png"
    assert pairs.folds == 1  # one pair of a kind cannot fill two folds


def test_csv_with_one_fold_is_split_again(tmp_path):
    rows = "".join(f"a{i},b{i},{i % 2},0\n" for i in range(60))
    pairs = read_pairs(write(tmp_path, "first,second,same,fold\n" + rows), tmp_path)
    assert pairs.folds == 10


def test_the_real_lfw_list(shared_data):
    lists, root = shared_data / "lfw_lists", shared_data / "lfw_aligned112"
    if not (lists / "pairs.txt").is_file() or not root.is_dir():
        pytest.skip("the LFW lists and aligned images are not in the data folder")
    pairs = read_pairs(lists / "pairs.txt", root)
    assert (len(pairs), pairs.genuine) == (6000, 3000)
    assert np.bincount(pairs.fold).tolist() == [600] * 10
    assert np.bincount(pairs.fold[pairs.same]).tolist() == [300] * 10
    assert all(path.is_file() for path in pairs.files())
    people = [[a.parent == b.parent for a, b in zip(pairs.first, pairs.second, strict=True)]]
    np.testing.assert_array_equal(people[0], pairs.same)
    development = read_pairs(lists / "pairsDevTest.txt", root)
    assert (len(development), development.folds) == (1000, 10)
    assert np.bincount(development.fold[development.same]).tolist() == [50] * 10


def test_all_pairs():
    paths = [f"{i}.png" for i in range(100)]
    labels = np.repeat([f"s{i}" for i in range(10)], 10)
    pairs = all_pairs(paths, labels)
    assert (len(pairs), pairs.genuine, pairs.folds) == (4950, 450, 10)
    keys = {frozenset(pair) for pair in zip(pairs.first, pairs.second, strict=True)}
    assert len(keys) == 4950
    assert np.bincount(pairs.fold[pairs.same]).tolist() == [45] * 10
    assert np.bincount(pairs.fold[~pairs.same]).tolist() == [450] * 10
    np.testing.assert_array_equal(all_pairs(paths, labels).fold, pairs.fold)
    assert (all_pairs(paths, labels, seed=1).fold != pairs.fold).any()
    assert all_pairs(paths[:12], labels[:12]).folds == 10
    assert all_pairs(["a", "b", "c"], [0, 0, 1]).folds == 1


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=3, max_size=14), st.integers(2, 40), st.integers(0, 9))
def test_sampled_pairs_are_balanced_different_and_right(labels, count, seed):
    labels = [0, 0, 1, *labels]
    paths = [Path(f"{i}.png") for i in range(len(labels))]
    every = [labels[i] == labels[j] for i in range(len(labels)) for j in range(i + 1, len(labels))]
    genuine, impostor = count // 2, count - count // 2
    if genuine > sum(every) or impostor > len(every) - sum(every):
        with pytest.raises(ValueError, match=r"`count` must be at most"):
            sample_pairs(paths, labels, count, seed=seed)
        return
    pairs = sample_pairs(paths, labels, count, seed=seed)
    assert (pairs.genuine, pairs.impostor) == (genuine, impostor)
    both = list(zip(pairs.first, pairs.second, strict=True))
    assert len({frozenset(pair) for pair in both}) == count
    assert all(a != b for a, b in both)
    truth = [labels[paths.index(a)] == labels[paths.index(b)] for a, b in both]
    assert truth == pairs.same.tolist()
    again = sample_pairs(paths, labels, count, seed=seed)
    assert both == list(zip(again.first, again.second, strict=True))


def test_sampling_from_many_images_lists_no_pairs():
    labels = np.arange(100_000) // 4
    pairs = sample_pairs([f"{i}" for i in range(len(labels))], labels, 2000, seed=3)
    assert (pairs.genuine, pairs.impostor, pairs.folds) == (1000, 1000, 10)


def test_pair_numbers_are_unranked_exactly():
    rank = np.concatenate([np.arange(5000), 10**14 + np.arange(5000), [10**17]])
    low, high = _unrank(rank)
    assert ((low >= 0) & (low < high)).all()
    np.testing.assert_array_equal(high * (high - 1) // 2 + low, rank)


@pytest.mark.parametrize(
    ("paths", "labels", "words"),
    [
        (["a", "b", "c"], [0, 1], "`labels`.*3 paths"),
        (["a", "b", "b"], [0, 0, 1], "`paths`.*once"),
        (["a", "b", "c"], [0, 0, 0], "at least two people"),
        (["a", "b", "c"], [0, 1, 2], "at least two people"),
        ([], [], "at least two people"),
    ],
)
def test_images_that_give_no_pairs_are_refused(paths, labels, words):
    for make in (lambda: all_pairs(paths, labels), lambda: sample_pairs(paths, labels, 2)):
        with pytest.raises(ValueError, match=words):
            make()


def test_folds_are_stratified_and_checked():
    same = np.array([True] * 7 + [False] * 20)
    folds = stratified_folds(same, 3)
    assert np.bincount(folds[same]).tolist() == [3, 2, 2]
    assert np.bincount(folds[~same]).tolist() == [7, 7, 6]
    assert set(stratified_folds(same)) == set(range(7))  # seven genuine pairs, seven folds
    for folds in (1, 0, -3, 2.5, True):
        with pytest.raises(ValueError, match="`folds`"):
            stratified_folds(same, folds)


def test_pair_lists_check_their_parts():
    files = [Path("a"), Path("b")]
    with pytest.raises(ValueError, match="equally long"):
        PairList(files, files[:1], np.array([True, False]), np.array([0, 1]))
    with pytest.raises(ValueError, match="equally long"):
        PairList(files, files, np.array([True]), np.array([0, 1]))
    with pytest.raises(ValueError, match=r"bool.*integer"):
        PairList(files, files, np.array([1, 0]), np.array([0, 1]))
    chosen = PairList(files, files[::-1], np.array([True, False]), np.array([0, 1])).select([1])
    assert (chosen.first, chosen.second, chosen.fold.tolist()) == ([files[1]], [files[0]], [1])
