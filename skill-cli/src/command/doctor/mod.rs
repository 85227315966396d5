//! `skill doctor`: what is wrong, and how to mend it.
//!
//! `place.rs` looks at files, the disk and the clock, `reach.rs` at addresses, `inside.rs` at what the
//! engine says of itself. Nothing here changes anything, but for what opening a data directory does.

mod inside;
mod place;
mod reach;

use std::process::ExitCode;

use serde_json::{Value, json};

use crate::{
    assemble, config::Loaded, context::Global, failure::Failure, home::Home, log, output::escaped,
};

/// Say what is wrong, and how to mend it
///
/// Looks at the configuration, the data directory, the sealing key, the disk, the clock, the public
/// URL, your own integrations, OAuth clients, connections, runs and webhooks. Exit code 1 when
/// something is wrong; notes alone are fine.
#[derive(Debug, clap::Args)]
pub(crate) struct Doctor {}

/// How much something matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    /// It is as it should be.
    Fine,
    /// Somebody may want to know.
    Note,
    /// It does not work, or is not safe.
    Wrong,
}

/// Something that was looked at.
#[derive(Debug)]
struct Finding {
    level: Level,
    about: &'static str,
    what: String,
    mend: Option<String>,
}

/// Everything that was looked at, in this order.
#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn fine(&mut self, about: &'static str, what: impl Into<String>) {
        self.0.push(Finding { level: Level::Fine, about, what: what.into(), mend: None });
    }

    fn note(&mut self, about: &'static str, what: impl Into<String>, mend: impl Into<String>) {
        let (what, mend) = (what.into(), Some(mend.into()));
        self.0.push(Finding { level: Level::Note, about, what, mend });
    }

    fn wrong(&mut self, about: &'static str, what: impl Into<String>, mend: impl Into<String>) {
        let (what, mend) = (what.into(), Some(mend.into()));
        self.0.push(Finding { level: Level::Wrong, about, what, mend });
    }

    /// An error as somebody reads it elsewhere, with its own hint.
    fn failed(&mut self, about: &'static str, error: &anyhow::Error, mend: &str) {
        let known = error.chain().find_map(|cause| cause.downcast_ref::<Failure>());
        let hint = known.and_then(Failure::told_hint).unwrap_or(mend).to_owned();
        let details = known.map(Failure::details).unwrap_or_default();
        if details.is_empty() {
            let causes =
                error.chain().map(|cause| match cause.downcast_ref::<skill_core::Error>() {
                    Some(core) => core.log_line(),
                    None => cause.to_string(),
                });
            let mut causes = causes.collect::<Vec<_>>();
            causes.dedup();
            self.wrong(about, causes.join(": "), hint);
            return;
        }
        for detail in details {
            self.wrong(about, detail.clone(), hint.clone());
        }
    }

    fn has_wrong(&self) -> bool {
        self.0.iter().any(|finding| finding.level == Level::Wrong)
    }

    fn json(&self) -> Value {
        let shown = |finding: &Finding| {
            let level = match finding.level {
                Level::Fine => "fine",
                Level::Note => "note",
                Level::Wrong => "wrong",
            };
            json!({
                "level": level, "about": finding.about, "what": finding.what, "mend": finding.mend,
            })
        };
        json!({
            "is_well": !self.has_wrong(),
            "findings": self.0.iter().map(shown).collect::<Value>(),
        })
    }

    fn text(&self) -> String {
        let mut lines = Vec::new();
        for Finding { level, about, what, mend } in &self.0 {
            let mark = match level {
                Level::Fine => "fine ",
                Level::Note => "note ",
                Level::Wrong => "WRONG",
            };
            lines.push(format!("{mark}  {about}: {}", escaped(what)));
            lines.extend(mend.iter().map(|mend| format!("       -> {}", escaped(mend))));
        }
        lines.join("\n")
    }
}

impl Doctor {
    pub(crate) async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let mut findings = Findings::default();
        match global.load(&[]) {
            Ok(loaded) => {
                log::start(loaded.config.log.format, &log::Level::quiet());
                look(&loaded, &mut findings).await;
            }
            Err(error) => findings.failed("configuration", &error, "mend the setting"),
        }
        global.output().show(&findings.json(), || findings.text())?;
        Ok(if findings.has_wrong() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

async fn look(loaded: &Loaded, findings: &mut Findings) {
    let config = &loaded.config;
    let home = Home::of(config);
    settings(loaded, findings);
    let integrations = assemble::integrations(config, &home);
    match &integrations {
        Ok(all) => findings.fine("integrations", format!("{} of them load", all.len())),
        Err(error) => findings.failed("integrations", error, "mend the file, or take it away"),
    }
    if let Ok(integrations) = &integrations {
        match assemble::skills::all(config, &home, integrations) {
            Ok(all) => findings.fine("skills", format!("{} of them load", all.len())),
            Err(error) => findings.failed("skills", &error, "mend the file, or take it away"),
        }
    }
    let has_store = place::look(config, &home, findings);
    let is_served = reach::server(config, &home, findings).await;
    if has_store && integrations.is_ok() {
        inside::look(config, is_served, findings).await;
    }
    if let Ok(all) = &integrations {
        reach::doors(config, &home, all, findings);
    }
    reach::public(config, is_served, findings).await;
}

/// What is said twice, or to nobody.
fn settings(loaded: &Loaded, findings: &mut Findings) {
    for name in &loaded.ignored {
        let mend =
            "is it misspelt? `skill config --defaults` prints every setting: `a.b` is SKILL_A_B";
        findings.wrong(
            "configuration",
            format!("{name} in the environment names no setting"),
            mend,
        );
    }
    for (name, hidden, stands) in &loaded.shadowed {
        let what = format!("`{name}` of {hidden} counts for nothing: {stands} is in force");
        findings.note("configuration", what, "take one of them out");
    }
    if loaded.ignored.is_empty() {
        findings.fine("configuration", "every setting is known");
    }
}
