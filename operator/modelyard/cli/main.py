"""The commands. Each reads, calls a pure function, and prints."""

import json
import secrets
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer
import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from modelyard.api.v1alpha1 import Deployment, ModelVersion, Pipeline, TrainingRun
from modelyard.api.v1alpha1.names import ANNOTATION_RUN_NOW
from modelyard.cli.check_convert import CheckError, check_pickle
from modelyard.cli.check_data import CheckedData, DataError
from modelyard.cli.check_data import check_data as check_rows
from modelyard.cli.cluster import Cluster, ClusterError, parse_reference
from modelyard.cli.compare import Row, Side
from modelyard.cli.compare import compare as compare_versions
from modelyard.cli.lineage import (
    Drawing,
    Listing,
    Serialization,
    difference,
    draw,
    lineage_of,
    recorded_lineage,
    repeat,
)
from modelyard.cli.lineage import report as reproduction_lines
from modelyard.cli.lineage import restore as restore_records
from modelyard.cli.predict import ModelClient, PredictError
from modelyard.cli.predict import predict as predict_file
from modelyard.cli.records import RecordsError, stored_records
from modelyard.cli.report import ReportError, fetch_report, write_report
from modelyard.cli.rows import RowsError
from modelyard.cli.run_display import summary
from modelyard.cli.serve import Options, ServeError
from modelyard.cli.serve import serve as serve_folder
from modelyard.cli.tensors import TensorsError
from modelyard.cli.watch import changes, clock
from modelyard.cli.why import Explanation, Mark, why_deployment, why_model_version, why_pipeline, why_training_run
from modelyard.lineage.restoration import model_version, published
from modelyard.lineage.run import RunRecord
from modelyard.lineage.text import shorten
from modelyard.local.plan import Runner
from modelyard.starter.project import StarterError
from modelyard.starter.project import model_name as starter_name
from modelyard.starter.project import render as starter_render
from modelyard.starter.project import write as starter_write

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Ask about models, their versions, runs and roll-outs.",
    rich_markup_mode=None,
)
console = Console(highlight=False)

EXIT_NOT_READY = 1
EXIT_USAGE = 2
EXIT_TIMEOUT = 3


class Output(StrEnum):
    """Output formats."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"


Namespace = Annotated[str | None, typer.Option("--namespace", "-n", help="Namespace; default: the context's.")]
Context = Annotated[str | None, typer.Option("--context", help="Context of the kubeconfig.")]
Format = Annotated[Output, typer.Option("--output", "-o", help="Output format.")]
Reference = Annotated[
    str,
    typer.Argument(
        help="KIND/NAME, such as mpl/flight-delay, trun/flight-delay-1, mv/flight-delay-v1, mdep/flight-delay."
    ),
]


@app.command()
def why(
    reference: Reference, namespace: Namespace = None, context: Context = None, output: Format = Output.TABLE
) -> None:
    """Say the one thing that blocks an object, and who can lift it. Exits 0 when nothing does, 1 otherwise."""
    explanation = _guarded(lambda: _explain(Cluster.connect(namespace=namespace, context=context), reference))
    if output in (Output.JSON, Output.YAML):
        _print_data(asdict(explanation), output)
    else:
        for line in explanation.lines:
            console.print(f"  {line.mark.value} {line.text}", style=_STYLES[line.mark], markup=False)
        console.print(explanation.verdict, style="bold", markup=False)
    raise typer.Exit(0 if explanation.blocker is None else EXIT_NOT_READY)


@app.command()
def watch(
    reference: Reference,
    namespace: Namespace = None,
    context: Context = None,
    timeout: Annotated[int, typer.Option(min=1, max=86_400, help="Seconds after which to give up.")] = 3600,
) -> None:
    """Follow a run or a roll-out to its end. Exits 0 when it ends well, 1 when it does not, 3 after the timeout."""
    ended = _guarded(lambda: _follow(Cluster.connect(namespace=namespace, context=context), reference, timeout))
    if ended is None:
        console.print(f"still not finished after {timeout} s")
        raise typer.Exit(EXIT_TIMEOUT)
    raise typer.Exit(0 if ended else EXIT_NOT_READY)


@app.command()
def trigger(
    reference: Annotated[str, typer.Argument(help="pipeline/NAME.")],
    namespace: Namespace = None,
    context: Context = None,
) -> None:
    """Start a run of a Pipeline now, whatever has changed. Neither its cooldown nor its daily budget delays it."""
    token = _guarded(lambda: _trigger(Cluster.connect(namespace=namespace, context=context), reference))
    console.print(f"asked {reference} for a run ({ANNOTATION_RUN_NOW}: {token})", markup=False)


@app.command()
def compare(
    left: Annotated[str, typer.Argument(help="A ModelVersion: NAME or mv/NAME.")],
    right: Annotated[str, typer.Argument(help="Another one.")],
    namespace: Namespace = None,
    context: Context = None,
    output: Format = Output.TABLE,
) -> None:
    """Show how two versions differ: metrics, code, data, parameters. `-o wide` shows equal rows too."""
    rows = _guarded(lambda: _compare(Cluster.connect(namespace=namespace, context=context), left, right))
    if output in (Output.JSON, Output.YAML):
        _print_data([asdict(row) for row in rows], output)
        return
    table = Table("", "", left, right, box=None, pad_edge=False)
    for row in rows:
        if row.differs or output is Output.WIDE or row.section == "evaluation":
            table.add_row(
                row.section, row.name, shorten(row.left), shorten(row.right), style="" if row.differs else "dim"
            )
    console.print(table)


@app.command()
def report(
    reference: Annotated[str, typer.Argument(help="A ModelVersion: mv/NAME.")],
    namespace: Namespace = None,
    context: Context = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File; default: NAME.html.")] = None,
) -> None:
    """Fetch the page with plots that explains how a version was judged. Reads the store with your own credentials."""
    version = _guarded(lambda: _model_version(Cluster.connect(namespace=namespace, context=context), reference))
    page = _guarded(lambda: fetch_report(version))
    file = output or Path(f"{version.metadata.name}.html")
    _guarded(lambda: write_report(file, page))
    print(file)  # noqa: T201 - to be opened


@app.command()
def lineage(
    reference: Annotated[str | None, typer.Argument(help="mv/NAME; not with --record.")] = None,
    namespace: Namespace = None,
    context: Context = None,
    output: Annotated[Drawing, typer.Option("--output", "-o", help="Form of the answer.")] = Drawing.TEXT,
    record: Annotated[
        str | None, typer.Option(help="A record.json, a file or an object such as s3://…; no cluster is asked.")
    ] = None,
) -> None:
    """Draw what a version was made from, how it was judged, which versions it followed, and where it serves."""
    if (reference is None) == (record is None):
        _fail("name exactly one of mv/NAME and --record")
    if record is not None:
        graph = _guarded(lambda: recorded_lineage(record))
    else:
        graph = _guarded(
            lambda: lineage_of(Cluster.connect(namespace=namespace, context=context), str(reference), _note)
        )
    print(draw(graph, output), end="")  # noqa: T201 - to be piped


@app.command()
def diff(
    left: Annotated[str, typer.Argument(help="mv/NAME.")],
    right: Annotated[str, typer.Argument(help="mv/NAME of another version.")],
    namespace: Namespace = None,
    context: Context = None,
    output: Annotated[Listing, typer.Option("--output", "-o", help="Form of the answer.")] = Listing.TABLE,
) -> None:
    """Show only what differs between two versions, schema and parameters too. Exits 0 when nothing does, 1 otherwise.

    Signatures, and the parameters of runs that are gone, are read from the store with the credentials of the
    environment (such as AWS_ACCESS_KEY_ID); without them, their digests are compared.
    """
    rows = _guarded(lambda: difference(Cluster.connect(namespace=namespace, context=context), left, right, _note))
    differing = [row for row in rows if row.differs]
    if output is Listing.JSON:
        _print_data({"equal": len(rows) - len(differing), "differing": [asdict(row) for row in differing]}, Output.JSON)
    else:
        table = Table("", "", left, right, box=None, pad_edge=False)
        for row in differing:
            table.add_row(row.section, row.name, shorten(row.left), shorten(row.right))
        console.print(table)
        console.print(f"{len(rows) - len(differing)} equal rows are not shown")
    raise typer.Exit(EXIT_NOT_READY if differing else 0)


@app.command()
def reproduce(
    reference: Annotated[str, typer.Argument(help="mv/NAME.")],
    *,
    namespace: Namespace = None,
    context: Context = None,
    output: Annotated[Serialization, typer.Option("--output", "-o", help="Form of the answer.")] = Serialization.YAML,
    apply: Annotated[bool, typer.Option("--apply", help="Run it, and compare what comes out.")] = False,
    timeout: Annotated[int, typer.Option(min=1, max=86_400, help="Seconds after which to give up.")] = 3600,
) -> None:
    """Print the TrainingRun that repeats the one that made a version; with --apply, run it and compare the models.

    It publishes to the model line NAME-reproduced, so that nothing that serves is touched. Exits with --apply 0 when
    the models are the same bit for bit, 1 when they are not or the run fails, 3 after the timeout.
    """
    cluster = _guarded(lambda: Cluster.connect(namespace=namespace, context=context))
    task = _guarded(lambda: repeat(cluster, reference))
    for caveat in task.reproduction.caveats:
        _note(f"note: {caveat}")
    if not apply:
        _print_data(task.reproduction.manifest, output)
        return
    is_new = _guarded(lambda: task.start(cluster))
    _note(f"TrainingRun '{task.reproduction.name}' {'was created' if is_new else 'is there from before'}")
    ended = _guarded(lambda: task.follow(cluster, timeout, datetime.now(UTC), clock(), _note))
    if not ended:
        _note("the run has failed" if ended is False else f"still not finished after {timeout} s")
        raise typer.Exit(EXIT_TIMEOUT if ended is None else EXIT_NOT_READY)
    comparison = _guarded(lambda: task.compare(cluster))
    if output is Serialization.JSON:
        _print_data(asdict(comparison), output)
    else:
        print("\n".join(reproduction_lines(comparison)))  # noqa: T201
    raise typer.Exit(0 if comparison.bit_for_bit else EXIT_NOT_READY)


@app.command()
def restore(
    uri: Annotated[str, typer.Argument(help="The store: what MODELYARD_STORE_URI is in the namespace.")],
    *,
    namespace: Namespace = None,
    context: Context = None,
    model: Annotated[str | None, typer.Option(help="Only this model; default: all.")] = None,
    output: Annotated[Serialization, typer.Option("--output", "-o", help="Form of the answer.")] = Serialization.YAML,
    apply: Annotated[bool, typer.Option("--apply", help="Create those that the namespace lacks.")] = False,
) -> None:
    """Make all ModelVersions again from the records of a store alone. The environment has the store's credentials.

    Exits with --apply 1 when the namespace has other bytes under one of the names.
    """
    records = published(_guarded(lambda: list(stored_records(uri, model))))
    if not apply:
        items = [model_version(record, namespace) for record in records]
        _print_data({"apiVersion": "v1", "kind": "List", "items": items}, output)
        return
    done = _guarded(lambda: restore_records(Cluster.connect(namespace=namespace, context=context), records))
    print(f"{len(done.created)} created, {len(done.existing)} there from before")  # noqa: T201
    for name in done.conflicting:
        _note(f"{name}: the namespace has other bytes under this name; it was left alone")
    raise typer.Exit(EXIT_NOT_READY if done.conflicting else 0)


@app.command()
def serve(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A model directory, as training writes it.")],
    name: Annotated[str | None, typer.Option(help="Name of the model; default: the folder's.")] = None,
    version: Annotated[int, typer.Option(min=1, help="Version of the model.")] = 1,
    address: Annotated[str, typer.Option(help="IP address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 = any free one.")] = 8080,
) -> None:
    """Serve a model directory on this machine, with the server that also runs in the cluster. Ctrl-C ends it."""
    path = folder.resolve()
    options = Options(folder=path, name=name or path.name, version=version, address=address, port=port)
    code = _guarded(lambda: serve_folder(options, lambda text: print(text, flush=True)))  # noqa: T201 - to be copied
    raise typer.Exit(EXIT_NOT_READY if code else 0)


@app.command()
def predict(
    url: Annotated[str, typer.Argument(help="URL of a model: http://HOST:PORT/v2/models/NAME.")],
    file: Annotated[Path, typer.Option("--file", "-f", help="Rows: .csv, .json or .jsonl (lines), .parquet.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="CSV file; default: standard output.")] = None,
    rows: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many in one request.")] = 1000,
) -> None:
    """Ask a model for each row of a file, by the names of its columns, and write the answers as CSV."""

    def ask() -> int:
        with ModelClient(url) as client:
            return predict_file(client, file, rows, output, sys.stdout)

    count = _guarded(ask)
    print(f"{count} rows", file=sys.stderr)  # noqa: T201


@app.command("check-convert")
def check_convert(
    pickle: Annotated[Path, typer.Argument(metavar="MODEL.PKL", help="A pickled scikit-learn model.")],
    samples: Annotated[
        Path | None, typer.Option(help="Rows as the model was trained on: .csv, .parquet, .jsonl; default: beside it.")
    ] = None,
) -> None:
    """Say whether the operator could convert a pickle to ONNX. It is read in a sandbox. Exits 0 if so, 1 otherwise."""
    found = _guarded(lambda: check_pickle(pickle, samples))
    console.print(found.text, style="green" if found.converts else "red", markup=False)
    raise typer.Exit(0 if found.converts else EXIT_NOT_READY)


@app.command("check-data")
def check_data(
    data: Annotated[Path, typer.Argument(metavar="FILE", help="Rows: .parquet, .csv, .jsonl, or a folder of them.")],
    expectations: Annotated[Path, typer.Option("--expectations", "-e", help="YAML with the TrainingRun or Pipeline.")],
    name: Annotated[str | None, typer.Option("--input", help="Input; default: the one with expectations.")] = None,
    previous: Annotated[Path | None, typer.Option(help="Profile to compare with, as --save-profile writes it.")] = None,
    save_profile: Annotated[Path | None, typer.Option(help="Where to write the profile of the data.")] = None,
) -> None:
    """Check data as a run would before its first step. Exits 0 if it is as expected, 1 otherwise."""
    checked = _guarded(lambda: check_rows(data, expectations, name, previous, save_profile))
    _print_findings(checked)
    raise typer.Exit(0 if checked.is_valid else EXIT_NOT_READY)


class RunOutput(StrEnum):
    """Output formats of what does not ask the cluster."""

    TEXT = "text"
    JSON = "json"


RunFormat = Annotated[RunOutput, typer.Option("--output", "-o", help="Output format.")]


@app.command()
def validate(
    files: Annotated[
        list[str],
        typer.Option("--filename", "-f", help="File, folder (its *.yaml and *.yml), or - for standard input."),
    ],
    output: RunFormat = RunOutput.TEXT,
) -> None:
    """Check manifests as the API server would, without one. Exits 0 when it would take all of them, 1 otherwise."""
    from modelyard.cli.validate import ValidateError, valid, validate_files  # noqa: PLC0415 - loads an interpreter

    try:
        reports = list(validate_files(files))
    except ValidateError as error:
        _fail(str(error))
    if output is RunOutput.JSON:
        _print_data([report.as_data() for report in reports], Output.JSON)
    else:
        for line in (line for report in reports for line in report.lines()):
            print(line)  # noqa: T201 - editors read it
    raise typer.Exit(0 if valid(reports) else EXIT_NOT_READY)


@app.command()
def run(
    *,
    file: Annotated[Path, typer.Option("--filename", "-f", help="File with a TrainingRun or a Pipeline.")],
    parameter: Annotated[
        list[str] | None, typer.Option("--parameter", "-p", metavar="NAME=VALUE", help="In place of spec.parameters.")
    ] = None,
    input_: Annotated[
        list[str] | None,
        typer.Option("--input", metavar="NAME=PATH", help="File or folder in place of an input's URI."),
    ] = None,
    store: Annotated[Path, typer.Option(help="Folder of artifacts, versions and logs.")] = Path(".modelyard"),
    runner: Annotated[Runner, typer.Option(help="What stands for the steps' containers.")] = Runner.PROCESS,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the steps' working folders.")] = False,
    output: RunFormat = RunOutput.TEXT,
) -> None:
    """Run a TrainingRun on this machine. Exits 0 when it succeeds, 1 when it fails, 130 when it was stopped."""
    from modelyard.cli.run import Request, run_file  # noqa: PLC0415 - loads the storage and an interpreter
    from modelyard.local.manifest import RunError  # noqa: PLC0415 - as above

    request = Request(file, parameter or (), input_ or (), store, runner, keep)
    try:
        outcome = run_file(request, quiet=output is RunOutput.JSON)
    except RunError as error:
        _fail(str(error))
    if output is RunOutput.JSON:
        _print_data(outcome.manifest(datetime.now(UTC)), Output.JSON)
    else:
        for line in summary(outcome):
            console.print(line, markup=False, soft_wrap=True)
    raise typer.Exit(outcome.exit_code)


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the project.")] = Path(),
    model: Annotated[str | None, typer.Option(help="Name of the model; default: after the folder.")] = None,
) -> None:
    """Write a project to begin with: two steps, manifests, sample data, a test and its CI. Overwrites nothing."""
    try:
        name = model or starter_name(folder)
        starter_write(folder, starter_render(name))
    except StarterError as error:
        _fail(str(error))
    console.print(
        f"wrote the project of model {name} to {folder.resolve()}; README.md says how to go on",
        markup=False,
        soft_wrap=True,
    )


_STYLES = {Mark.DONE: "green", Mark.ACTIVE: "yellow", Mark.BLOCKED: "red", Mark.PENDING: "dim"}


def _explain(cluster: Cluster, reference: str) -> Explanation:
    kind, name = parse_reference(reference)
    if kind is Pipeline:
        return why_pipeline(cluster.get(Pipeline, name))
    if kind is TrainingRun:
        return why_training_run(cluster.get(TrainingRun, name))
    if kind is ModelVersion:
        return why_model_version(cluster.get(ModelVersion, name))
    return why_deployment(cluster.get(Deployment, name), cluster.list(ModelVersion))


def _trigger(cluster: Cluster, reference: str) -> str:
    kind, name = parse_reference(reference)
    if kind is not Pipeline:
        raise ClusterError(f"'{reference}' must be a Pipeline, such as pipeline/{name}")
    token = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
    cluster.annotate(Pipeline, name, ANNOTATION_RUN_NOW, token)
    return token


def _follow(cluster: Cluster, reference: str, timeout: int) -> bool | None:
    kind, name = parse_reference(reference)
    if kind not in (TrainingRun, Deployment):
        raise ClusterError(f"'{reference}' must be a TrainingRun or a Deployment: a {kind.kind} comes to no end")
    followed = TrainingRun if kind is TrainingRun else Deployment
    cluster.get(followed, name)
    ended: bool | None = None
    resources: Iterator[TrainingRun | Deployment] = cluster.watch(followed, name, timeout_seconds=timeout)
    for line, ended in changes(resources, started=datetime.now(UTC), now=clock()):  # noqa: B007 - the last one counts
        console.print(line, markup=False, soft_wrap=True)
    return ended


def _model_version(cluster: Cluster, reference: str) -> ModelVersion:
    kind, name = parse_reference(reference)
    if kind is not ModelVersion:
        raise ClusterError(f"'{reference}' must be a ModelVersion, such as mv/flight-delay-v1")
    return cluster.get(ModelVersion, name)


def _compare(cluster: Cluster, left: str, right: str) -> list[Row]:
    return compare_versions(_side(cluster, left), _side(cluster, right))


def _side(cluster: Cluster, name: str) -> Side:
    version = _model_version(cluster, name if "/" in name else f"mv/{name}")
    lineage = version.spec.lineage
    runs = [run for run in cluster.list(TrainingRun) if lineage and run.metadata.uid == lineage.training_run.uid]
    return Side(version, RunRecord.of(runs[0]) if runs else None)


def _print_findings(checked: CheckedData) -> None:
    if checked.findings:
        table = Table("Severity", "Column", "Check", "Finding", box=None, pad_edge=False)
        for finding in checked.findings:
            table.add_row(
                finding.severity.value, escape(finding.column or "-"), finding.check.value, escape(finding.message)
            )
        console.print(table)
    rows = "" if checked.rows is None else f"{checked.rows} rows: "
    verdict = "the data is as expected" if checked.is_valid else "a run would end with DataInvalid"
    console.print(rows + verdict, style="green" if checked.is_valid else "red", markup=False)


Result = TypeVar("Result")


def _guarded(call: Callable[[], Result]) -> Result:
    try:
        return call()
    except (
        CheckError,
        ClusterError,
        DataError,
        PredictError,
        RecordsError,
        ReportError,
        RowsError,
        ServeError,
        TensorsError,
    ) as error:
        _fail(str(error))


def _fail(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)  # noqa: T201 - stderr, uncoloured, for scripts
    raise typer.Exit(EXIT_USAGE)


def _note(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201 - beside the data, which alone goes to standard output


def _print_data(data: Any, output: Output | Serialization) -> None:
    text = (
        json.dumps(data, indent=2)
        if output in (Output.JSON, Serialization.JSON)
        else yaml.safe_dump(json.loads(json.dumps(data)), sort_keys=False)
    )
    print(text.rstrip())  # noqa: T201 - data for programs goes out as it is


if __name__ == "__main__":
    app()
