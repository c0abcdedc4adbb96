"""`pileus explain access`: who may do what to which object, and the rule that decides it."""

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from pileus.cli.http import Failed
from pileus.cli.lifecycle import complain
from pileus.cli.operations import connect, wrapped


def explain(state: Path, user: str, action: str, thing: str) -> int:
    """0: allowed; 1: not, or the question cannot be answered."""
    try:
        query = urlencode({"user": user, "action": action, "object": thing})
        answer = connect(state).get("console", f"/access/explain?{query}")
    except Failed as error:
        complain(str(error))
        return 1
    print("\n".join(told(answer)))
    return 0 if answer["allowed"] else 1


def told(answer: Any) -> list[str]:
    user, action, thing = answer["user"], answer["action"], answer["object"]
    what = f" to {thing['kind'].replace('_', ' ')} {thing['name'] or thing['id']}" if thing else ""
    verdict = "may" if answer["allowed"] else "may not"
    found = [f"{user['name']} {verdict} {action['name']}{what}"]
    found += [f"  {wrapped(problem, 2)}" for problem in user["problems"]]
    found += [f"  {wrapped(note, 2)}" for note in user["notes"]]
    found += [f"  rule      {wrapped(action['rule'] or '(everybody)', 12)}"]
    for token in answer["tokens"]:
        found += ["", *of_token(token)]
    found += [f"  advice    {wrapped(line, 12)}" for line in answer["advice"]]
    return found


def of_token(token: Any) -> list[str]:
    """What a token for one place could do."""
    found = [f"  with a token for {token['scope']} {token['name']}: {'yes' if token['allowed'] else 'no'}"]
    found.append(f"    roles   {', '.join(token['roles']) or '-'}")
    if token["core"]:
        found.append(f"    core    {wrapped(token['core'], 12)}")
    for part in token["parts"]:
        found.append(
            f"    {'holds ' if part['holds'] else 'not   '}  {wrapped(part['text'] or '(everybody)', 12)}"
        )
    return found
