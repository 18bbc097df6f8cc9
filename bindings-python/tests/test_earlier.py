"""Programs in the shape of the guides of earlier versions, run as they are, with both import names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from conftest import Server, start_server
from octopoid import Octopoid

FIRST = """
import os
from {module} import OctopoidSDK, OctopoidError, OctopoidAPIError, OctopoidNotFoundError, OctopoidAuthenticationError

sdk = OctopoidSDK()
assert sdk.system.health_check()['status'] == 'healthy'

task = sdk.tasks.create(
    id='{id}', file_path='tasks/incoming/TASK-{id}.md', queue='incoming', priority='P1', role='implement',
    branch='main', project_id=None,
)
print(f"Created task: {{task['id']}}")
assert task['title'] == '{id}' and task['queue'] == 'incoming'
positional = sdk.tasks.create('{id}-b', 'tasks/incoming/TASK-{id}-b.md', 'incoming', 'P2', 'docs', 'main')
assert positional['role'] == 'docs' and positional['branch'] == 'main'
assert sdk.tasks.get('{id}-none') is None

tasks = sdk.tasks.list(queue='incoming', priority='P1', limit=10)
assert '{id}' in [t['id'] for t in tasks]
assert len(sdk.tasks.list('incoming', 'P1', 'implement', 100, 0)) >= 1
for t in sdk.tasks.list(queue='incoming', priority='P2'):
    if t.get('role') == 'docs' and t['id'].startswith('{id}'):
        updated = sdk.tasks.update(t['id'], priority='P1')
        assert updated['priority'] == 'P1'

claimed = sdk.tasks.claim(orchestrator_id='test-{id}', agent_name='agent-1', role_filter='implement')
if claimed:
    submitted = sdk.tasks.submit(task_id=claimed['id'], pr_url='https://example.com/1', commits_count=3, turns_used=10)
    assert submitted['queue'] == 'provisional' and submitted['pr_url'] == 'https://example.com/1'
    accepted = sdk.tasks.accept(claimed['id'])
    assert accepted['queue'] == 'done'
nothing = sdk.tasks.claim('test-{id}', 'agent-1', 'implement')
if nothing:
    raise SystemExit('claimed what is not there')

other = sdk.tasks.claim('test-{id}', 'agent-1', 'docs')
sdk.tasks.submit(other['id'], commits_count=1, turns_used=1)
rejected = sdk.tasks.reject(other['id'], reason='Tests are missing', rejected_by='reviewer')
assert rejected['rejection_count'] == 1

project = sdk.projects.create(id='p-{id}', name='Documentation', description='All of it')
assert sdk.projects.get('p-{id}')['title'] == 'Documentation'
assert 'p-{id}' in [p['id'] for p in sdk.projects.list()]
assert sdk.projects.get('p-{id}-none') is None

try:
    sdk.tasks.accept('{id}-none', accepted_by='me')
except OctopoidNotFoundError as e:
    assert e.status_code == 404
try:
    OctopoidSDK(api_key='oct_wrong').tasks.list()
except OctopoidAuthenticationError as e:
    assert e.status_code == 401
try:
    sdk.tasks.create(id='{id}', file_path='x.md')
except OctopoidAPIError as e:
    print(f"API error {{e.status_code}}")
except OctopoidError as e:
    raise SystemExit('not an API error')
"""

SECOND = """
from {module} import OctopoidSDK

with OctopoidSDK(server_url='{url}/', scope='{scope}', timeout=10) as sdk:
    assert sdk.status.health()['database'] == 'connected'
    task = sdk.tasks.create('{id}', 'tasks/{id}.md', title='Second', role='implement', priority='P1', branch='main',
                            metadata={{'a': 1}})
    assert task['scope'] == '{scope}' and task['title'] == 'Second'
    assert [t['id'] for t in sdk.tasks.list(queue='incoming', role='implement')] == ['{id}']
    assert sdk.tasks.list(needs_intervention=True) == []
    claimed = sdk.tasks.claim('test-{id}', 'agent', role_filter='implement', lease_duration_seconds=120, max_claimed=1)
    assert claimed['claimed_by'] == 'agent'
    assert not sdk.tasks.claim('test-{id}', 'agent', max_claimed=1)
    sdk.tasks.submit(claimed['id'], commits_count=1, turns_used=4, check_results={{'tests': 'ok'}},
                     execution_notes='fine')
    poll = sdk.poll('test-{id}')
    assert poll['queue_counts']['provisional'] == 1 and poll['orchestrator_registered']
    assert [t['id'] for t in poll['provisional_tasks']] == ['{id}']
    sdk.tasks.reject('{id}', 'again')
    sdk.tasks.update('{id}', needs_intervention=True, execution_notes='look')
    assert [t['id'] for t in sdk.tasks.list(needs_intervention=True)] == ['{id}']
    sdk.tasks.claim('test-{id}', 'agent')
    sdk.tasks.requeue('{id}')
    assert sdk.tasks.fail('{id}', 'out of ideas')['queue'] == 'failed'
    draft = sdk.drafts.create('Idea', 'agent', file_path='drafts/1.md', status='idea')
    assert [d['id'] for d in sdk.drafts.list(status='idea')] == [draft['id']]
    sdk.projects.create(id='p-{id}', title='Project', branch='feature/p', description='x')
    sdk.projects.update('p-{id}', status='active')
    sdk.tasks.create('{id}-2', 'tasks/{id}-2.md', project_id='p-{id}', branch='main')
    assert [t['branch'] for t in sdk.projects.get_tasks('p-{id}')] == ['feature/p']
    assert sdk.projects.list(status='active')[0]['id'] == 'p-{id}'
    states = ['incoming', 'claimed', 'provisional', 'testing', 'done', 'failed']
    sdk.flows.register('qa', states, [{{'from': 'provisional', 'to': 'testing'}}])
    assert [f['name'] for f in sdk.flows.list()] == ['qa']
    sdk.flows.delete('qa')
    message = sdk.messages.create('{id}', 'agent', 'comment', 'hello', to_actor='human')
    assert sdk.messages.list(task_id='{id}')[-1]['id'] == message['id']
    action = sdk.actions.create('task', '{id}', 'Do it', action_data={{'x': 1}}, proposed_by='agent')
    assert sdk.actions.list(entity_type='task', entity_id='{id}', status='pending')[0]['id'] == action['id']
    sdk.actions.execute(action['id'])
    assert sdk.actions.complete(action['id'], {{'ok': True}})['status'] == 'completed'
    sdk.tasks.delete('{id}-2')
print('done')
"""

FLAT = """
from {module} import OctopoidClient, Task

client = OctopoidClient('{url}', None)
task: Task = client.create_task(id='{id}', file_path='tasks/{id}.md', role='implement', priority='P0')
assert client.get_task('{id}')['priority'] == 'P0'
assert client.list_tasks(queue='incoming', priority='P0', role='implement', limit=50)[0]['id'] == '{id}'
client.update_task('{id}', title='Flat')
client.register_orchestrator('flat', '{id}', 'https://example.com/repo')
assert client.send_heartbeat('flat-{id}')['success']
claimed = client.claim_task('flat-{id}', 'agent', role_filter='implement')
assert claimed['title'] == 'Flat'
client.submit_completion('{id}', commits_count=1, turns_used=2)
client.reject_completion('{id}', 'no')
client.claim_task('flat-{id}', 'agent')
client.submit_completion('{id}', 1, 2)
assert client.accept_completion('{id}', accepted_by='me')['queue'] == 'done'
client.create_project(id='p-{id}', name='Flat')
assert client.get_project('p-{id}')['title'] == 'Flat'
assert 'p-{id}' in [p['id'] for p in client.list_projects()]
print('done')
"""

SCRIPT = """
import sys
from {module} import OctopoidSDK
task = OctopoidSDK().tasks.get(sys.argv[1])
if task is None:
    print('no such task')
    sys.exit(1)
print(f"{{task['id']}}: {{task['queue']}}")
"""


@pytest.fixture(params=["octopoid", "octopoid_sdk"])
def module(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def run(program: str, environment: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_the_first_generation(server: Server, module: str, scope: str) -> None:
    name = f"t-{uuid.uuid4().hex[:8]}"
    with Octopoid(server.url, scope=scope) as client:
        client.orchestrators.register("test", name)
    environment = {"OCTOPOID_SERVER_URL": server.url + "/", "OCTOPOID_SCOPE": scope}
    printed = run(FIRST.format(module=module, id=name), environment)
    assert printed == f"Created task: {name}\nAPI error 409\n"
    assert run(SCRIPT.format(module=module), environment, name) == f"{name}: done\n"


def test_the_second_generation(server: Server, module: str, scope: str) -> None:
    name = f"t-{uuid.uuid4().hex[:8]}"
    with Octopoid(server.url, scope=scope) as client:
        client.orchestrators.register("test", name)
    assert run(SECOND.format(module=module, id=name, url=server.url, scope=scope), {}) == "done\n"


def test_the_flat_client(tmp_path: Path, module: str) -> None:
    server = start_server(tmp_path, "--default-scope", "default")
    try:
        assert run(FLAT.format(module=module, id="flat", url=server.url), {}) == "done\n"
    finally:
        server.stop()


def test_everything_is_in_both_modules() -> None:
    program = (
        "import json, octopoid, octopoid_sdk; print(json.dumps([octopoid.__all__, octopoid_sdk.__all__, "
        "all(getattr(octopoid, n) is getattr(octopoid_sdk, n) for n in octopoid.__all__)]))"
    )
    ours, theirs, same = json.loads(run(program, {}))
    assert ours == theirs and same is True
