//! Takes changed rule files into force while the engine runs.
//!
//! Rules with errors change nothing; the engine records and tells why.

use are_core::error::Fault;
use are_engine::engine::Engine;

use super::watch::{Watched, blocking};
use crate::config::files::Fingerprint;
use crate::config::policy::Source;

type Files = Vec<(String, String)>;

/// The files that the engine's rules come from.
pub(super) struct RuleFiles {
    engine: Engine,
    source: Source,
    /// The files as they were last read; `None` when that failed.
    files: Option<Files>,
}

impl RuleFiles {
    /// `files` are those in force.
    pub(super) const fn new(engine: Engine, source: Source, files: Files) -> Self {
        Self { engine, source, files: Some(files) }
    }
}

impl Watched for RuleFiles {
    type Seen = Fingerprint;
    const WHAT: &'static str = "rules";

    async fn look(&self) -> Result<Fingerprint, Fault> {
        let source = self.source.clone();
        blocking(move || source.fingerprint()).await
    }

    fn is_fresh(seen: &Fingerprint) -> bool {
        seen.is_fresh()
    }

    async fn take_in(&mut self, is_asked: bool) -> Result<(), Fault> {
        let source = self.source.clone();
        let read = blocking(move || source.read()).await?;
        if !is_asked && read.as_ref().ok() == self.files.as_ref() && read.is_ok() {
            return Ok(());
        }
        let (source, files) = (self.source.clone(), read.clone());
        let built = blocking(move || files.and_then(|files| source.build(&files))).await?;
        match built {
            Ok(rules) => {
                self.engine.set_rules(rules).await?;
            }
            Err(fault) => self.engine.refuse_rules(fault).await?,
        }
        self.files = read.ok();
        Ok(())
    }
}
