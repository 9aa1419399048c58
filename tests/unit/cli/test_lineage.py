from modelyard.cli.lineage import report
from modelyard.lineage.reproduction import Comparison, Difference


def test_report_of_the_same_model_is_short() -> None:
    assert report(Comparison("sha256:1", "sha256:1", 3, (), ())) == [
        "the model is the same, bit for bit",
        "3 of 3 metrics are the same",
    ]


def test_report_of_another_model_names_each_number_and_image_that_differs() -> None:
    found = Comparison(
        "sha256:1", "sha256:2", 3, (Difference("rocAuc", "0.71", "0.70"),), (Difference("train", "a@1", "a@2"),)
    )
    assert report(found) == [
        "the bytes of the model differ: sha256:1, now sha256:2",
        "rocAuc: 0.71, now 0.70",
        "2 of 3 metrics are the same",
        "step 'train' ran in a@1, now in a@2",
    ]
