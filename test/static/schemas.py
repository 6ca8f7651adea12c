"""Validates manifests against the strict JSON schemas of Kubernetes versions, as kubernetes-validate bundles them.

Usage: schemas.py VERSION... < [{"source": "...", "object": {...}}, ...]

Prints a JSON list of problems, each a text that names the source, the version and the field. kubernetes-validate's own
`validate` says the same, but reads a megabyte of definitions for every object.
"""

import functools
import json
import sys
from importlib.resources import files

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from referencing import Registry, Resource

SCHEMAS = files("kubernetes_validate") / "kubernetes-json-schema"


def contents(version: str, name: str) -> dict:
    return json.loads((SCHEMAS / f"v{version}.0-local-strict" / f"{name}.json").read_text())


@functools.cache
def definitions(version: str) -> Registry:
    return (Resource.from_contents(contents(version, "_definitions")) @ Registry()).crawl()


@functools.cache
def validator(version: str, api_version: str, kind: str) -> Draft202012Validator:
    group, _, group_version = api_version.rpartition("/")
    names = [kind.lower(), group.split(".")[0], group_version]
    schema = contents(version, "-".join(name for name in names if name))
    return Draft202012Validator(schema, registry=definitions(version))


def problem_of(manifest: dict, version: str) -> str | None:
    api_version, kind = manifest["apiVersion"], manifest["kind"]
    try:
        error = best_match(validator(version, api_version, kind).iter_errors(manifest))
    except FileNotFoundError:
        return f"there is no {kind} in {api_version}"
    return error and f"{'.'.join(str(part) for part in error.path)}: {error.message}"


problems = []
for entry in json.load(sys.stdin):
    for version in sys.argv[1:]:
        if problem := problem_of(entry["object"], version):
            problems.append(f"{entry['source']} ({version}): {problem}")
json.dump(problems, sys.stdout)
