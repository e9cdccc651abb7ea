"""Names of accuracies: those of before are read as those of today."""

from latentbit.runtime.metrics import current_names


def test_former_names_are_read_as_todays() -> None:
    former = {"training": 0.9, "latent_stream": None, "validation": 0.8, "validation_latent_stream": 0.7, "epochs": 3}
    today = {
        "test_accuracy": 0.9,
        "latent_test_accuracy": None,
        "validation_accuracy": 0.8,
        "latent_validation_accuracy": 0.7,
        "epochs": 3,
    }
    assert current_names(former) == today
    assert current_names(today) == today
