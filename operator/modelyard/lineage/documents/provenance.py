"""`provenance.json`: an in-toto Statement v1 whose predicate is SLSA Provenance v1."""

from typing import Any, Final

from modelyard.api.canonical import as_json
from modelyard.lineage.documents.subject import Subject, hexadecimal, image_digest, to_text
from modelyard.lineage.run import RUN_FILE

STATEMENT: Final = "https://in-toto.io/Statement/v1"
PREDICATE: Final = "https://slsa.dev/provenance/v1"
BUILD_TYPE: Final = "https://modelyard.dev/training-run/v1"
BUILDER: Final = "https://modelyard.dev/operator"


def render(subject: Subject) -> str:
    """Return the statement; its subjects are the model's manifest and each of its files."""
    run, record = subject.run, subject.record
    statement = {
        "_type": STATEMENT,
        "subject": [
            {"name": subject.name, "digest": {"sha256": hexadecimal(record.artifact.digest)}},
            *({"name": f"{subject.name}/{file.path}", "digest": {"sha256": file.sha256}} for file in subject.files),
        ],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": as_json(run.spec),
                "internalParameters": {"modelVersion": subject.name},
                "resolvedDependencies": [*_inputs(subject), *_images(subject)],
            },
            "runDetails": {
                "builder": {"id": BUILDER, "version": {"modelyard": subject.modelyard_version}},
                "metadata": _metadata(subject),
                "byproducts": [{"name": RUN_FILE, "digest": {"sha256": hexadecimal(subject.run_digest)}}],
            },
        },
    }
    return to_text(statement)


def _metadata(subject: Subject) -> dict[str, str]:
    times = {"startedOn": subject.run.start_time, "finishedOn": subject.end_time}
    return {"invocationId": subject.run.uid, **{name: time for name, time in times.items() if time}}


def _inputs(subject: Subject) -> list[dict[str, Any]]:
    return [
        {
            "name": item.name,
            "uri": item.uri,
            "digest": {"sha256": hexadecimal(item.digest)},
            **({"annotations": {"version": item.version}} if item.version else {}),
        }
        for item in subject.run.inputs
    ]


def _images(subject: Subject) -> list[dict[str, Any]]:
    found = []
    for step in subject.run.steps:
        if not step.image:
            continue
        digest = image_digest(step.image)
        known = {"digest": {"sha256": hexadecimal(digest)}} if digest else {}
        found.append({"name": f"step {step.name}", "uri": f"oci://{step.image}", **known})
    return found
