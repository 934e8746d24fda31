"""Take a picture or a line down, so that the next model is trained without it.

It goes from the table of records, from images/ and captioned/ with all versions, from the answers of the API and from
what the ingest has written down; and it is put on a list that the ingest reads, so no upload brings it back. Without
--yes nothing is deleted: what would go is printed. Again is harmless.
"""

from __future__ import annotations

import argparse
import json

import boto3

from cli.errors import CommandError
from cli.places import BUCKET, MACHINE, RESULTS, TABLE, Places, add_options
from cli.takedown import Plan, Stores, carry_out, plan
from cli.target import Target
from ogiri_aws import forgotten

STAYS = (
    "models and what their jobs wrote (models/, checkpoints/): those that were trained with it know it until they are "
    "deleted, and report.html and samples.jsonl may show it",
    "the serving model: train again (upload any CSV, or start the machine by hand), then it knows it no more",
    "backups: point-in-time recovery of the tables (35 days), replaced versions of a CSV (TemporaryDays)",
    "copies outside of this bucket and these tables, and the same picture from another URL",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--key", help="the picture's ImageKey, in the records or in an answer")
    which.add_argument("--url", help="the picture's image_url, as a CSV has it")
    which.add_argument("--result", metavar="ID", help="the picture of an answer of the API, by the answer's id")
    parser.add_argument("--line", metavar="TEXT", help="only this line of the picture; alone: of every picture")
    parser.add_argument("--yes", action="store_true", help="do it; nothing brings it back")
    parser.add_argument("--json", action="store_true", help="for machines")
    add_options(parser, BUCKET, TABLE, RESULTS, MACHINE)


def run(options: argparse.Namespace) -> int:
    """Print the plan, and carry it out with --yes."""
    places = Places(options)
    stores = Stores(
        boto3.client("s3"),
        boto3.resource("dynamodb"),
        boto3.client("stepfunctions"),
        places.get(BUCKET),
        places.get(TABLE),
        places.find(RESULTS),
        places.find(MACHINE),
    )
    target = _target(options, stores)
    found = plan(stores, target)
    if not options.json:
        _show(found, options.yes)
    if options.yes:
        carry_out(stores, found)
    if options.json:
        print(json.dumps({**found.to_json(), "stays": STAYS, "done": options.yes}, ensure_ascii=False, indent=2))
    else:
        print("\ndone" if options.yes else "\nnothing was deleted: --yes does it")
    return 0


def _target(options: argparse.Namespace, stores: Stores) -> Target:
    target = Target(stores.bucket)
    if options.line is not None:
        target.set_line(options.line)
    if options.key:
        target.add_key(options.key)
    elif options.url:
        target.add_url(options.url)
    elif options.result:
        item = stores.answer(options.result)
        if item is None:
            raise CommandError(f"there is no answer {options.result!r}, or none any more: name its picture with --key")
        target.results.add(options.result)
        if item.get("ImageKey"):
            target.add_captioned(str(item["ImageKey"]))
    elif options.line is None:
        raise CommandError("nothing is named: give --key, --url or --result, or --line")
    return target


def _show(found: Plan, sure: bool) -> None:
    print("is deleted" if sure else "would be deleted")
    for what, names in found.sections():
        print(f"  {what}: {len(names):,}")
        for name in names:
            print(f"    {name}")
    print("is kept out from now on, by" if sure else "would be kept out, by")
    for name in found.names:
        known = " (is there)" if name in found.known else ""
        print(f"  s3://{found.bucket}/{forgotten.FOLDER}{name}{known}")
    print("stays")
    for text in (*found.notes, *STAYS):
        print(f"  {text}")
