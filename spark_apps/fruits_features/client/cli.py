"""Command line `fruits`: recognises photographs with the published run of a bucket, and shows its runs.

Exit codes: 0 for success, 1 if a photo or the run cannot be used, 2 for invalid arguments. Results go to stdout, errors
to stderr.
"""

import argparse
import io
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

from obstore.exceptions import BaseError

from fruits_features import __version__
from fruits_features.client import extras
from fruits_features.client.published_run import DamagedRunError, PublishedRun
from fruits_features.contract.errors import RunError
from fruits_features.contract.layout import DEFAULT_DATASET
from fruits_features.publications import publications

_ERRORS = (BaseError, ImportError, OSError, RunError, ValueError)
"""Base classes of the errors that `PublishedRun` documents, and of obstore's."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: Command line arguments; those of the process if `None`.

    Returns:
        Exit code.
    """
    options = _parser().parse_args(argv)
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":  # a name would end the command
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = int(options.command(options))
        sys.stdout.flush()
    except BrokenPipeError:  # such as `fruits runs … | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter writes the rest at its end
        return 1
    except _ERRORS as error:
        file = getattr(error, "filename", None)
        return _fail(f"{file}: {_sentence(error)}" if file else _sentence(error))
    except KeyboardInterrupt:
        return 130
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fruits",
        description="Recognise photographs of fruit with the published run of a bucket, and show its runs.",
        epilog="Credentials and region are those of boto3, for example AWS_PROFILE.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    bucket, one_run, photos = _shared_arguments()

    text = "Print the most probable categories of photographs."
    recognise = commands.add_parser("recognise", parents=[bucket, photos, one_run], help=text, description=text)
    recognise.add_argument("--top", type=_positive, default=5, metavar="N", help="categories per photo (default: 5)")
    recognise.set_defaults(command=_recognise)

    text = "Print the training images that are most similar to photographs."
    nearest = commands.add_parser("nearest", parents=[bucket, photos, one_run], help=text, description=text)
    nearest.add_argument("-k", type=_positive, default=5, metavar="N", help="images per photo (default: 5)")
    nearest.set_defaults(command=_nearest)

    text = "List the published runs: the current one, then the others, the newest first."
    commands.add_parser("runs", parents=[bucket], help=text, description=text).set_defaults(command=_runs)

    text = "Print the figures of a run and the address of its report."
    report = commands.add_parser("report", parents=[bucket, one_run], help=text, description=text)
    report.add_argument("--output", type=Path, metavar="FILE", help="save the report, an HTML page, as this file")
    report.set_defaults(command=_report)

    text = "Serve a page that recognises photographs with the published run."
    serve = commands.add_parser("serve", help=text, description=text)
    serve.add_argument("bucket", metavar="BUCKET", help="s3://<bucket>")
    _add_dataset(serve)
    import_module("fruits_features.client.serve.command").add_arguments(serve)
    serve.set_defaults(command=_serve)
    return parser


def _shared_arguments() -> tuple[argparse.ArgumentParser, argparse.ArgumentParser, argparse.ArgumentParser]:
    """Return the arguments of several commands: the bucket and JSON, the choice of a run, and photos."""
    bucket, one_run, photos = (argparse.ArgumentParser(add_help=False) for _ in range(3))
    bucket.add_argument("bucket", metavar="BUCKET", help="s3://<bucket>")
    _add_dataset(bucket)
    bucket.add_argument("--json", action="store_true", help="print JSON")
    which = one_run.add_mutually_exclusive_group()
    which.add_argument("--run", metavar="NAME", help="name of a run (default: the published one)")
    which.add_argument("--as-of", metavar="TIME", help="the run published then: 2026-11-20, or with a time of day")
    photos.add_argument("photos", nargs="+", metavar="PHOTO", help="image file, or s3:// URI of one")
    return bucket, one_run, photos


def _add_dataset(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dataset", default=DEFAULT_DATASET, metavar="NAME", help="data set (default: %(default)s)")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return int(text)


def _open(options: argparse.Namespace) -> PublishedRun:
    return PublishedRun.open(options.bucket, run=options.run, as_of=options.as_of, dataset=options.dataset)


def _recognise(options: argparse.Namespace) -> int:
    run = _open(options)
    run.recogniser, run.projection  # noqa: B018 - errors of the run come before those of photos

    def answer(photo: str) -> list[dict[str, Any]]:
        guesses = run.recognise(photo, options.top)
        return [{"category": category, "probability": probability} for category, probability in guesses]

    return _answer(options, run, "recognised", answer, "{probability:8.2f}  {category}")


def _nearest(options: argparse.Namespace) -> int:
    run = _open(options)
    extras.require("read")
    run.projection  # noqa: B018 - errors of the run come before those of photos

    def answer(photo: str) -> list[dict[str, Any]]:
        return [asdict(neighbour) for neighbour in run.nearest(photo, options.k)]

    return _answer(options, run, "nearest", answer, "{cosine:8.3f}  {category}  {path}")


def _answer(
    options: argparse.Namespace,
    run: PublishedRun,
    name: str,
    answer: Callable[[str], list[dict[str, Any]]],
    line: str,
) -> int:
    """Print the answer for each photo. A photo that cannot be used does not end the command, but a run does.

    Args:
        options: Arguments of the command.
        run: The run.
        name: Name of the answer in JSON.
        answer: Function that returns the answer for a photo.
        line: Format of one entry of an answer.
    """
    results: list[dict[str, Any]] = []
    for photo in options.photos:
        try:
            results.append({"photo": photo, name: answer(photo)})
        except (DamagedRunError, RunError):  # all photos would have it
            raise
        except _ERRORS as error:
            results.append({"photo": photo, "error": _sentence(error)})
        if not options.json:
            _print_answer(results[-1], name, line)
    if options.json:
        _print_json({"run": run.run, "photos": results})
    return int(any("error" in result for result in results))


def _print_answer(result: dict[str, Any], name: str, line: str) -> None:
    if "error" in result:
        _fail(f"{result['photo']}: {result['error']}")
        return
    print(result["photo"])
    for entry in result[name]:
        print(line.format(**entry))


def _runs(options: argparse.Namespace) -> int:
    listed = publications(options.bucket, dataset=options.dataset)
    if options.json:
        _print_json([{"run": one.run, "published_at": one.published_at.isoformat()} for one in listed])
        return 0
    for one in listed:
        print(f"{one.published_at:%Y-%m-%d %H:%M:%S}Z  {one.run}")
    return 0


def _report(options: argparse.Namespace) -> int:
    run = _open(options)
    report = run.pointer["paths"]["report"]
    if options.output:
        options.output.write_bytes(run.read(report))
    if options.json:
        _print_json(run.pointer)
        return 0
    for name, value in _figures(run.pointer):
        print(f"{name:<16}{value}")
    print(f"{'report':<16}{options.output or report}")
    return 0


def _figures(pointer: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - JSON
    """Yield name and value of the figures of a run."""
    projection = pointer["projection"]
    yield "run", pointer["run"]
    yield "published", pointer["published_at"]
    yield "images", f"{pointer['counts']['features']:,}"
    yield "quarantined", f"{pointer['counts']['quarantine']:,}"
    yield "categories", f"{pointer['inventory']['categories']:,}"
    yield "components", f"{projection['components']}, {projection['explained_variance']:.1%} of the variance"
    yield "recogniser", "yes" if "recogniser" in pointer["paths"] else "no"


def _serve(options: argparse.Namespace) -> int:
    extras.require("serve")
    return int(import_module("fruits_features.client.serve.command").run(options))


def _print_json(document: object) -> None:
    text = json.dumps(document, indent=2, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(document, indent=2)
    print(text)


def _sentence(error: Exception) -> str:
    """Return an error as one line, without the number and the file of the operating system's errors."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).partition("\n")[0]  # obstore adds details below the first line


def _fail(message: str) -> int:
    print(f"fruits: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
