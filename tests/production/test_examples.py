"""Every example DAG that somebody starts does in the deployment what its docstring says."""

from __future__ import annotations

from collections.abc import Callable

from remote_tasks_sandbox.demo import seed_demo
from tests.examples.running import EXAMPLES, copy_quick
from tests.production.deployment import FILES, Account, Deployment
from tests.system.test_hitl import User

Figure = Callable[..., None]
#: Which task of each tells that it did, and how often it runs.
LAST = {
    "example_a_person_answers": {"show": 1},
    "example_ask_an_a2a_agent": {"publish": 1},
    "example_ask_and_branch": {"publish": 1},
    "example_branch_operator": {"explain": 1},
    "example_fan_out_and_collect": {"files": 6},
    "example_fetch_and_list": {"everything": 1},
    "example_mapped_deliveries": {"report": 1},
    "example_publish_and_wait": {"report": 1},
    "example_publish_fan_out_and_branch": {"done": 1},
    "example_replay_dead_letters": {"report": 1},
    "example_structured_output": {"use": 1},
    "example_wait_and_branch": {"publish": 1},
    "example_workflow_run": {"publish": 1},
}
#: What they watch starts them.
WATCHERS = {"example_watch_dead_letters", "example_watch_finished_tasks"}
#: The task that asks a person, the option that is chosen, and what is written.
QUESTIONS: list[tuple[str, str, str, dict[str, str]]] = [
    ("example_a_person_answers", "plan", "To a lake", {}),
    ("example_ask_an_a2a_agent", "ask", "Send", {"answer": "walkers"}),
]
#: Those that write files.
FOLDERS = {"example_ask_an_a2a_agent", "example_fan_out_and_collect", "example_fetch_and_list"}


def test_example_dags_do_what_they_say(deployment: Deployment, account: Account, figure: Figure) -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(LAST) | WATCHERS
    account.publish_defaults()
    for name in LAST:
        copy_quick(name, deployment.dags / "examples", interval=5)
    seed_demo(account.sandbox, seconds=20)
    folder = {"folder": f"s3://aws_default@{FILES}/examples"}
    runs = {name: deployment.run(name, **(folder if name in FOLDERS else {})) for name in LAST}
    for name, task_id, option, written in QUESTIONS:
        user = User(deployment.client, runs[name].run_id, name, task_id)
        user.answer(user.question()["asked"]["code"], option, **written)
    assert {name: run.until_over() for name, run in runs.items()} == dict.fromkeys(LAST, "success")
    for name, tasks in LAST.items():
        for task_id, count in tasks.items():
            assert runs[name].states(task_id) == {"success": count}, name
    files = {key: deployment.aws.get(FILES, key) for key in deployment.aws.keys(FILES)}
    assert [text for key, text in files.items() if key.endswith("guide.txt")] == [b"For walkers."]
    assert sum(key.endswith("museums.csv") for key in files) == 6
    (listed,) = (text for key, text in files.items() if key.endswith(".jsonl"))
    assert b"demo-completes" in listed
    figure(runs=len(runs), seconds=max(run.seconds for run in runs.values()))
