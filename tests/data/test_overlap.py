"""Patients and films that two manifests share."""

import pytest

from diff3m.data.manifest import ManifestError, read_manifest
from diff3m.data.overlap import check_disjoint, find_shared_patients, read_patients
from diff3m.ehr import paper_schema


def test_patients_are_compared_by_their_keys_and_unknown_ones_not_at_all(tmp_path):
    (tmp_path / "a.csv").write_text("path,patient\na.png,10000032.0\nb.png,unknown\nc.png,NaN\nd.png,\n")
    (tmp_path / "b.csv").write_text("path,Subject_ID\na.png, 10000032 \nb.png,Unknown\nc.png,nan\nd.png,N/A\n")
    (tmp_path / "c.csv").write_text("path,patient\na.png,unknown\n")
    assert read_patients(tmp_path / "b.csv") == {"10000032"}
    assert find_shared_patients(tmp_path / "a.csv", tmp_path / "b.csv") == (["10000032"], True)
    (tmp_path / "d.csv").write_text("path,patient,subject_id\na.png,,10000032\nb.png,7,10000033\n")
    assert read_patients(tmp_path / "d.csv") == {"10000032", "7"}, "a blank in one column hides nothing in the other"
    assert find_shared_patients(tmp_path / "a.csv", tmp_path / "c.csv") == ([], False), (
        "nobody is named, so nothing was checked"
    )


def check(folder, first: str, second: str) -> bool:
    """Compare two manifests of the columns path and patient, whose films exist."""
    paths = [folder / name for name in ("first.csv", "second.csv")]
    for path, rows in zip(paths, (first, second), strict=True):
        path.write_text(f"path,patient\n{rows}\n")
        for case in read_manifest(path, paper_schema()):
            case.path.touch()
    return check_disjoint(*paths, *(read_manifest(path, paper_schema()) for path in paths), "so nothing is measured")


def test_a_patient_or_a_film_in_both_manifests_is_refused(tmp_path):
    assert check(tmp_path, "a.png,1", "b.png,2") is True
    assert check(tmp_path, "a.png,1", "b.png,") is False, "the second names no patient, so none could be compared"
    with pytest.raises(ManifestError, match=r"^Patients in both .*first\.csv and .*second\.csv: 1 \(1 …\), so noth"):
        check(tmp_path, "a.png,1", "b.png,1.0")
    with pytest.raises(ManifestError, match=r"^Films in both .*: 1 \(a\.png …\), so nothing is measured\. Take th"):
        check(tmp_path, "a.png,1", f"../{tmp_path.name}/a.png,2")
