"""Data sets in their original forms."""

import pytest
from helpers import write_film, write_gzip


@pytest.fixture
def mimic(tmp_path):
    """Eight films of six patients as PhysioNet ships them, with every awkward row."""
    cxr, iv = tmp_path / "cxr", tmp_path / "iv"
    films = [  # dicom, subject, study, view, date
        ("a1", 10000001, 50000001, "PA", 21800510),
        ("a2", 10000001, 50000001, "LATERAL", 21800510),
        ("b1", 10000002, 50000002, "AP", 21811231),
        ("c1", 10000003, 50000003, "PA", 21500101),
        ("d1", 10000004, 50000004, "PA", 21700301),
        ("e1", 10000005, 50000005, "AP", 21600601),
        ("e2", 10000005, 50000006, "AP", 21600602),
        ("f1", 10000006, 50000007, "PA", 21900101),  # in no table of findings, patients or measurements
    ]
    metadata = (
        "dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,Rows,Columns,StudyDate,StudyTime\n"
    )
    metadata += "".join(f"{d},{s},{t},CHEST,{v},3056,2544,{day},142030.5\n" for d, s, t, v, day in films)
    metadata += "a1,10000001,50000001,CHEST,PA,3056,2544,21800510,142030.5\n"  # twice
    write_gzip(cxr / "mimic-cxr-2.0.0-metadata.csv.gz", metadata)
    chexpert = (
        "subject_id,study_id,Atelectasis,No Finding\n"
        + "10000001,50000001,,1.0\n10000002,50000002,1.0,\n10000003,50000003,,1.0\n"
    )
    write_gzip(cxr / "mimic-cxr-2.0.0-chexpert.csv.gz", chexpert + "10000004,50000004,,1.0\n10000005,50000005,,1.0\n")
    splits = {
        "a1": "train",
        "a2": "train",
        "b1": "test",
        "c1": "validate",
        "d1": "train",
        "e1": "train",
        "e2": "test",
        "f1": "test",
    }  # e is in two
    rows = "".join(f"{d},{t},{s},{splits[d]}\n" for d, s, t, _, _ in films)
    write_gzip(cxr / "mimic-cxr-2.0.0-split.csv.gz", "dicom_id,study_id,subject_id,split\n" + rows)
    for dicom, subject, study, _, _ in films:
        if dicom != "d1":  # missing
            write_film(cxr / f"files/p{str(subject)[:2]}/p{subject}/s{study}/{dicom}.jpg")
    people = "subject_id,gender,anchor_age,anchor_year,anchor_year_group,dod\n"
    people += "10000001,F,52,2178,2011 - 2013,\n10000002,M,60,2180,,\n10000003,M,40,,,\n"
    write_gzip(iv / "hosp/patients.csv.gz", people + "10000005,F,30,2160,,\n10000004,F,30,2170,,\n")
    omr = [
        (10000001, "2180-05-08", 1, "Blood Pressure", "120/80"),
        (10000001, "2180-05-08", 2, "Blood Pressure", "130/84"),  # two the same day
        (10000001, "2180-05-12", 1, "Blood Pressure", "150/70"),  # as near, after
        (10000001, "2180-05-13", 1, "Blood Pressure", "190/99"),  # farther
        (10000001, "2180-05-10", 1, "Blood Pressure Lying", "90/50"),  # ignored
        (10000001, "2180-05-10", 2, "Blood Pressure", "80/120"),  # swapped
        (10000001, "2180-05-10", 3, "Blood Pressure", "390/80"),  # no pressure
        (10000001, "2180-02-09", 1, "Weight (Lbs)", "150"),  # 91 days
        (10000001, "2180-02-10", 1, "Weight (Lbs)", "160.0"),  # 90 days before, and the next 90 days after
        (10000001, "2180-08-08", 1, "Weight (Lbs)", "180"),
        (10000001, "2180-05-01", 1, "Height (Inches)", "1.70"),  # metres
        (10000001, "2180-04-01", 1, "Height (Inches)", "65"),
        (10000001, "2180-05-10", 1, "BMI (kg/m2)", "28.3"),
        (10000002, "2181-12-30", 1, "BMI (kg/m2)", "about 30"),
        (10000002, "2182-01-01", 1, "Blood Pressure", "118/"),
        (19999999, "2180-05-10", 1, "BMI (kg/m2)", "22"),  # in no film
    ]
    text = "subject_id,chartdate,seq_num,result_name,result_value\n" + "".join(
        ",".join(map(str, row)) + "\n" for row in omr
    )
    write_gzip(iv / "hosp/omr.csv.gz", text)
    return cxr, iv
