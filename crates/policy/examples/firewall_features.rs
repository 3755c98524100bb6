//! Prints what the prompt firewall's classifier sees of each text: for training.
//!
//! JSON lines `{text}` in; out, one line each: the text's readings, each a list
//! of windows, each a pair of lists of feature numbers (structure, words). The
//! training script reads these, so training and scanning cannot disagree.

use std::io::{self, BufRead as _, BufWriter, Write as _};

use are_policy::firewall::Firewall;
use serde::Deserialize;

#[derive(Deserialize)]
struct Line {
    text: String,
}

fn main() -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    for line in io::stdin().lock().lines() {
        let line: Line = serde_json::from_str(&line?)?;
        let readings = Firewall::features(&line.text);
        let pairs: Vec<Vec<_>> =
            readings.iter().map(|windows| windows.iter().map(are_policy::firewall::Window::pair).collect()).collect();
        serde_json::to_writer(&mut out, &pairs)?;
        out.write_all(b"\n")?;
    }
    out.flush()
}
