"""A tool in Python: `componentize-py -d tables.wit -w tables componentize app -o tables.wasm`.

The component holds the interpreter, so it is large and slow to start beside one in C or Rust; what it can do
is the same, and so is what it cannot.
"""

import csv
import io

import wit_world
from componentize_py_types import Err


class WitWorld(wit_world.WitWorld):
    def sum(self, csv_text: str, column: str) -> float:
        rows = csv.DictReader(io.StringIO(csv_text))
        if column not in (rows.fieldnames or []):
            raise Err(f"there is no column `{column}`; there are: {', '.join(rows.fieldnames or ['none'])}")
        total = 0.0
        for number, row in enumerate(rows, start=2):
            try:
                total += float(row[column] or 0)
            except ValueError:
                raise Err(f"line {number}: `{row[column]}` is no number")
        return total
