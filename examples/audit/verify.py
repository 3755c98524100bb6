#!/usr/bin/env python3
"""Verifies an exported audit log without anything of the program that wrote it.

    python3 verify.py LOG CHECKPOINT KEY

LOG is what `are audit export` wrote, CHECKPOINT one or more signed notes, KEY
the file that `are audit vkey` printed. Exits 0 when every record is what was
written and signed, 6 when not, and says which record is the first bad one.
Needs Python 3.8 or later and nothing else; what is checked, and why, stands in
`docs/security/verifier.md`.
"""

import base64
import hashlib
import json
import sys


class Bad(Exception):
    """Something is not what was written."""


# ---- Ed25519 (RFC 8032), verification only ---------------------------------

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)


def point(data):
    """The point that 32 bytes encode, in extended coordinates."""
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    if y >= P:
        raise Bad("a key or signature is no point of the curve")
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * ROOT_OF_MINUS_ONE % P
    if x * x % P != square or (x == 0 and sign):
        raise Bad("a key or signature is no point of the curve")
    if x & 1 != sign:
        x = P - x
    return x, y, 1, x * y % P


def add(a, b):
    left = (a[1] - a[0]) * (b[1] - b[0]) % P
    right = (a[1] + a[0]) * (b[1] + b[0]) % P
    twist = 2 * a[3] * b[3] * D % P
    double = 2 * a[2] * b[2] % P
    e, f, g, h = right - left, double - twist, double + twist, right + left
    return e * f % P, g * h % P, f * g % P, e * h % P


def multiply(number, base):
    result = (0, 1, 1, 0)
    while number:
        if number & 1:
            result = add(result, base)
        base = add(base, base)
        number >>= 1
    return result


BASE = point((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def is_signed(key, message, signature):
    """Whether a signature of a message is one of the key's."""
    if len(key) != 32 or len(signature) != 64:
        return False
    scalar = int.from_bytes(signature[32:], "little")
    if scalar >= ORDER:
        return False
    challenge = hashlib.sha512(signature[:32] + key + message).digest()
    challenge = int.from_bytes(challenge, "little") % ORDER
    left = multiply(scalar, BASE)
    right = add(point(signature[:32]), multiply(challenge, point(key)))
    return all((left[i] * right[2] - right[i] * left[2]) % P == 0 for i in (0, 1))


# ---- Signed notes and checkpoints (C2SP) -----------------------------------


def keys_of(text):
    """Keys to verify with, by name and id."""
    keys = {}
    for line in text.splitlines():
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        name, key_id, data = line.split("+", 2)
        data = base64.b64decode(data, validate=True)
        expected = hashlib.sha256(name.encode() + b"\n" + data).digest()[:4]
        if data[0] != 1 or len(data) != 33 or expected.hex() != key_id:
            raise Bad("`%s` is no key to verify with" % line)
        keys[name, expected] = data[1:]
    if not keys:
        raise Bad("there is no key to verify with")
    return keys


def notes_of(text):
    """The notes of a text: each ends behind its lines of signatures."""
    notes, note, was_signature = [], "", False
    for line in text.splitlines(keepends=True):
        is_signature = line.startswith("\u2014 ")
        if was_signature and not is_signature:
            notes.append(note)
            note = ""
        if note or line.strip():
            note += line
        was_signature = is_signature
    return notes + [note] if note else notes


def checkpoint_of(note, keys):
    """Origin, size and root of a note that a known key signed."""
    text, found, signatures = note.rpartition("\n\n")[0], False, note.rpartition("\n\n")[2]
    text += "\n"
    origin, size, root = text.split("\n")[:3]
    for line in signatures.splitlines():
        dash, name, data = line.split(" ", 2)
        data = base64.b64decode(data, validate=True)
        key = keys.get((name, data[:4]))
        if dash != "\u2014" or key is None:
            continue
        if not is_signed(key, text.encode(), data[4:]):
            raise Bad("a checkpoint was forged or edited")
        found = found or name == origin
    if not found:
        raise Bad("no known key signed the checkpoint of `%s`" % origin)
    if str(int(size)) != size:
        raise Bad("a checkpoint is malformed")
    return origin, int(size), base64.b64decode(root, validate=True)


# ---- The tree (RFC 6962) and the chains ------------------------------------


class Tree:
    """Roots of the complete subtrees of all leaves so far."""

    def __init__(self):
        self.size, self.subtrees = 0, []

    def push(self, leaf):
        level = 0
        while self.subtrees and self.subtrees[-1][0] == level:
            leaf = hashlib.sha256(b"\x01" + self.subtrees.pop()[1] + leaf).digest()
            level += 1
        self.subtrees.append((level, leaf))
        self.size += 1

    def root(self):
        if not self.subtrees:
            return hashlib.sha256().digest()
        root = self.subtrees[-1][1]
        for _, left in reversed(self.subtrees[:-1]):
            root = hashlib.sha256(b"\x01" + left + root).digest()
        return root


def verify(log, checkpoints):
    """Checks the lines of a log; returns records and sessions."""
    tree, sessions, confirmed = Tree(), {}, 0
    expected = sorted(checkpoints, key=lambda one: one[1])
    last = expected[-1][1]

    def meet():
        nonlocal confirmed
        while expected and expected[0][1] == tree.size:
            if expected.pop(0)[2] != tree.root():
                raise Bad("leaves %d to %d are not those that were signed" % (confirmed, tree.size - 1))
            confirmed = tree.size

    meet()
    for line in log:
        here = "leaf %d" % tree.size
        if not line.endswith(b"\n"):
            raise Bad("%s: the log was cut short" % here)
        if tree.size == last:
            raise Bad("%s: no checkpoint covers it" % here)
        stored = line[:-1]
        try:
            record = json.loads(stored)
            version, session, seq, prev = (record[name] for name in ("v", "session", "seq", "prev"))
        except (ValueError, KeyError, TypeError):
            raise Bad("%s: it is no record" % here) from None
        if not (isinstance(session, str) and isinstance(seq, int)):
            raise Bad("%s: it is no record" % here)
        if version != 1:
            raise Bad("%s: its format is %s" % (here, version))
        leaf = hashlib.sha256(b"\x00" + stored).digest()
        before = sessions.get(session)
        if before is None and (seq != 1 or prev != "0" * 64):
            raise Bad("%s: record %d of session %s: those before it were removed" % (here, seq, session))
        if before is not None and seq <= before[0]:
            raise Bad("%s: record %d of session %s is doubled or out of order" % (here, seq, session))
        if before is not None and prev != before[1]:
            raise Bad("leaf %d: record %d of session %s was edited, or one behind it removed" % (before[2], before[0], session))
        sessions[session] = (seq, leaf.hex(), tree.size)
        tree.push(leaf)
        meet()
    if expected:
        raise Bad("leaf %d is missing: a checkpoint covers %d" % (tree.size, expected[0][1]))
    return tree.size, len(sessions)


def main(log, checkpoint, key):
    try:
        with open(key, encoding="utf-8") as file:
            keys = keys_of(file.read())
        with open(checkpoint, encoding="utf-8", newline="") as file:
            checkpoints = [checkpoint_of(note, keys) for note in notes_of(file.read())]
        if len({origin for origin, _, _ in checkpoints}) != 1:
            raise Bad("there is no checkpoint, or they are of several logs")
        with open(log, "rb") as file:
            records, sessions = verify(file, checkpoints)
    except (Bad, ValueError) as bad:
        print("bad: %s" % bad)
        return 6
    print("verified %d records of %d sessions" % (records, sessions))
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
