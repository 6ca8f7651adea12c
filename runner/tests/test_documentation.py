"""docs/workflow-definition.md says what the code does."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from far_side import Reply
from world import World, action, step
from wormhole_runner import _exceptions

TEXT = Path(__file__).parents[2].joinpath("docs/workflow-definition.md").read_text("utf-8")
EXAMPLES = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)]


def codes(error: type[_exceptions.StepError]) -> set[str]:
    """The codes of an error and of all errors below it."""
    own = {error.code} if "code" in vars(error) else set()
    return own.union(*map(codes, error.__subclasses__()))


def test_every_error_code_is_documented_and_no_other() -> None:
    section = TEXT.partition("## Error codes of steps")[2].partition("\n## ")[0]
    documented = set(re.findall(r"^\| `([A-Z_]+)`", section, re.MULTILINE))
    assert documented == codes(_exceptions.StepError) | {"CANCELED", "DEADLINE_EXCEEDED"}


def complete(example: dict[str, Any]) -> list[dict[str, Any]]:
    """Fills in the defaults, as the gateway does; hosts lead to the test's far side."""
    filled = []
    for given in example["steps"]:
        fields = dict(given["action"])
        url = re.sub(r"https://[a-z.]+", "http://api.example.test", fields.pop("endpointTemplate"))
        del fields["type"]
        rest = {name: value for name, value in given.items() if name not in {"key", "action"}}
        filled.append(step(given["key"], action(fields.pop("method"), url, **fields), **rest))
    return filled


CONNECTIONS = {name: {"kind": "OAUTH2", "accessToken": "access"} for name in ("crm", "mail", "billing", "erp")}


def test_the_first_example_runs(world: World) -> None:
    world.http.route("/contacts", Reply(200, {"items": [{"id": 1}], "next": "c2"}), Reply(200, {"items": []}))
    world.http.route("/lists/news%2Feu/members", Reply(200, {"count": 1}))
    result = world.run(
        *complete(EXAMPLES[0]),
        definition={name: EXAMPLES[0][name] for name in ("inputSchema", "output")},
        input={"list": "news/eu", "since": "2026-01-01"},
        connections=CONNECTIONS,
    )
    assert result == {"status": "SUCCESS", "output": {"added": 1}}


@pytest.mark.parametrize(("status", "done", "skipped"), [(200, "confirm", "hold"), (402, "hold", "confirm")])
def test_the_second_example_runs(world: World, status: int, done: str, skipped: str) -> None:
    world.http.route("/charges", Reply(status, {"id": "ch1"}))
    world.http.route("/orders/o1", Reply())
    result = world.run(*complete(EXAMPLES[1]), input={"order": "o1", "amount": 5}, connections=CONNECTIONS)
    assert result == {"status": "SUCCESS"}
    assert (world.last(done)["status"], world.last(skipped)["status"]) == ("SUCCESS", "SKIPPED")
