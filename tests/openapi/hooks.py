"""What Schemathesis checks beside its own checks."""

import atexit

import requests
import schemathesis

# Takes a credential in its body.
OPEN = {"POST /api/login"}
seen = set()


@atexit.register
def tell():
    print(f"asked without a credential: {len(seen)}")


@schemathesis.check
def unauthenticated_is_refused(ctx, response, case):
    """Without a credential every operation answers 401, names the scheme, and says nothing else."""
    operation = case.operation.label
    if operation in OPEN or operation in seen:
        return
    seen.add(operation)
    sent = response.request
    headers = {name: value for name, value in sent.headers.items() if name.lower() != "authorization"}
    answer = requests.request(sent.method, sent.url, headers=headers, data=sent.body, timeout=20)
    assert answer.status_code == 401, f"{operation} answers {answer.status_code} without a credential"
    assert answer.headers.get("www-authenticate", "").startswith("Bearer"), f"{operation} names no scheme"
    told = answer.json()
    code = told["error"]["are_code"] if "error" in told else told["code"]
    assert code == "ARE-0201", f"{operation} answers {told}"
