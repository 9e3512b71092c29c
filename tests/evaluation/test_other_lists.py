"""Lists of CALFW and CPLFW, and the folder of CFP, in their official layouts."""

import numpy as np
import pytest

from gfkeras.evaluation import read_pairs


def test_two_lines_a_pair(tmp_path):
    lines = []
    for i in range(40):
        lines += [f"A_{i}_0001.jpg {i // 4 + 1}", f"A_{i}_0002.jpg {i // 4 + 1}"]
    for i in range(40):
        lines += [f"A_{i}_0001.jpg 0", f"A_{i + 1}_0001.jpg 0"]
    file = tmp_path / "pairs_CALFW.txt"
    file.write_text("\n".join(lines))
    pairs = read_pairs(file, tmp_path)
    assert (len(pairs), pairs.genuine, pairs.folds) == (80, 40, 10)
    assert pairs.first[0] == tmp_path / "A_0_0001.jpg"
    assert pairs.second[79] == tmp_path / "A_40_0001.jpg"
    # The usual folds: pairs 4k to 4k + 3 of each kind are fold k.
    assert pairs.fold.tolist() == [*(np.arange(40) // 4), *(np.arange(40) // 4)]
    for wrong, message in (
        (lines[:-1], "two lines for each pair"),
        ([*lines[:4], "A_9.jpg x", "A.jpg 1"], "line 5: expected an image and a number"),
        ([lines[0], "B.jpg 0"], "line 2: expected the kind of the line before"),
    ):
        file.write_text("\n".join(wrong))
        with pytest.raises(ValueError, match=message):
            read_pairs(file, tmp_path)


def test_cfp(tmp_path):
    protocol = tmp_path / "Protocol"
    (protocol).mkdir()
    (tmp_path / "Data" / "Images").mkdir(parents=True)
    for name, kind, count in (("F", "frontal", 10), ("P", "profile", 4)):
        lines = [f"{i} ../Data/Images/{i:03d}/{kind}/01.jpg" for i in range(1, count + 1)]
        (protocol / f"Pair_list_{name}.txt").write_text("\n".join(lines))
    for number in range(1, 11):
        for kind in ("FP", "FF"):
            folder = protocol / "Split" / kind / f"{number:02d}"
            folder.mkdir(parents=True)
            (folder / "same.txt").write_text("1,1\n2,2\n")
            (folder / "diff.txt").write_text(f"{number},2\n3,{4 if kind == 'FP' else 9}\n")
    pairs = read_pairs("cfp-fp", tmp_path)
    assert (len(pairs), pairs.genuine, pairs.folds) == (40, 20, 10)
    assert pairs.same[:4].tolist() == [True, True, False, False]
    assert pairs.second[0].resolve() == tmp_path / "Data" / "Images" / "001" / "profile" / "01.jpg"
    assert pairs.first[6].resolve() == tmp_path / "Data" / "Images" / "002" / "frontal" / "01.jpg"
    assert read_pairs("CFP-FF", tmp_path).second[3].parts[-2] == "frontal"
    (protocol / "Split" / "FP" / "03" / "diff.txt").write_text("1,9\n")
    with pytest.raises(ValueError, match=r"diff\.txt, line 1: expected two numbers"):
        read_pairs("cfp-fp", tmp_path)
    profile = protocol / "Pair_list_P.txt"
    profile.write_text(profile.read_text() + "\n2 ../Data/Images/004/profile/01.jpg")
    with pytest.raises(ValueError, match=r"P\.txt, line 5: expected a number that no line before"):
        read_pairs("cfp-fp", tmp_path)
    (protocol / "Pair_list_P.txt").unlink()
    with pytest.raises(ValueError, match=r"Pair_list_P\.txt must be a list"):
        read_pairs("cfp-fp", tmp_path)
