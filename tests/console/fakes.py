"""Doors that a server may lack, answered by the test: a log of audit with true
proofs, and secrets. The page is then the one that is looked at, not the server."""

import base64
import hashlib
import json
import re

RECORDS = 7
NAME = "test.example/log"


def leaf(line):
    return hashlib.sha256(b"\0" + line.encode()).digest()


def node(left, right):
    return hashlib.sha256(b"\1" + left + right).digest()


def split(count):
    at = 1
    while at * 2 < count:
        at *= 2
    return at


def root(leaves):
    if len(leaves) == 1:
        return leaves[0]
    at = split(len(leaves))
    return node(root(leaves[:at]), root(leaves[at:]))


def path(leaves, index):
    """RFC 6962 §2.1.1, from the leaf up."""
    if len(leaves) == 1:
        return []
    at = split(len(leaves))
    if index < at:
        return path(leaves[:at], index) + [root(leaves[at:])]
    return path(leaves[at:], index - at) + [root(leaves[:at])]


def log(count):
    lines = [json.dumps({"seq": n, "action": "turn_started", "note": "日志"}, ensure_ascii=False) for n in range(count)]
    return lines, [leaf(line) for line in lines]


def tree_vectors():
    """True proofs of every leaf of small trees, and some that are not."""
    out = []
    for size in range(1, 10):
        lines, leaves = log(size)
        for index in range(size):
            hashes = [one.hex() for one in path(leaves, index)]
            good = {"line": lines[index], "leaf": index, "size": size, "hashes": hashes, "root": root(leaves).hex()}
            out.append({**good, "good": True})
            out.append({**good, "line": lines[index] + " ", "good": False})
            if hashes:
                out.append({**good, "hashes": hashes[:-1], "good": False})
                out.append({**good, "hashes": hashes + hashes[-1:], "good": False})
                out.append({**good, "leaf": (index + 1) % size, "good": False})
    return out


def fake_audit_and_secrets(page):
    """Answers these doors from here on; the dictionary that comes back can spoil the proofs."""
    lines, leaves = log(RECORDS)
    text = f"{NAME}\n{RECORDS}\n{base64.b64encode(root(leaves)).decode()}\n"
    # The browser makes the key and signs, so that nothing needs to be installed for it.
    public, signature = page.evaluate("""async (text) => {
        const pair = await crypto.subtle.generateKey({ name: 'Ed25519' }, true, ['sign', 'verify']);
        const base = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes)));
        return [base(await crypto.subtle.exportKey('raw', pair.publicKey)), base(await crypto.subtle.sign({ name: 'Ed25519' }, pair.privateKey, new TextEncoder().encode(text)))];
    }""", text)
    key = b"\1" + base64.b64decode(public)
    key_id = hashlib.sha256(NAME.encode() + b"\n" + key).digest()[:4]
    vkey = f"{NAME}+{key_id.hex()}+{base64.b64encode(key).decode()}"
    note = f"{text}\n— {NAME} {base64.b64encode(key_id + base64.b64decode(signature)).decode()}\n"
    checkpoint = {"origin": NAME, "size": RECORDS, "root": root(leaves).hex(), "note": note, "made_at_ms": 1_790_000_000_000}
    state = {"spoil": False}

    def prove(query):
        index = int(re.search(r"leaf=(\d+)", query).group(1))
        hashes = [one.hex() for one in path(leaves, index)]
        if state["spoil"]:
            hashes[0] = "00" * 32
        return {"proof": "c2sp.org/tlog-proof@v1\n…", "leaf": index, "record": lines[index], "hashes": hashes, "checkpoint": note}

    secrets = {"secrets": [{"name": "mail_key", "hosts": ["mail.example"], "tools": ["mail_send"], "key": "k1", "is_readable": True,
                            "created_at_ms": 1_790_000_000_000, "updated_at_ms": 1_790_000_000_000}]}
    answers = {
        "/api/audit/checkpoint": lambda _: checkpoint,
        "/api/audit/vkey": lambda _: {"vkey": vkey, "retired": []},
        "/api/audit/prove": prove,
        "/api/audit/verify": lambda _: {"records": RECORDS, "covered": RECORDS, "sessions": 2, "checkpoints": 1, "root": root(leaves).hex(), "payloads": 5, "erased": 0},
        "/api/secrets": lambda _: secrets,
    }

    def answer(route):
        where, _, query = route.request.url.split("/", 3)[3].partition("?")
        route.fulfill(json=answers[f"/{where}"](query))

    def described(route):
        told = route.fetch()
        document = told.json()
        for door in answers:
            document["paths"].setdefault(door, {})["get"] = {}
        route.fulfill(json=document)

    for door in answers:
        page.route(re.compile(re.escape(door) + r"(\?.*)?$"), answer)
    page.route("**/api/openapi.json", described)
    return state
