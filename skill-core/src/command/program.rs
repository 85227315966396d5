//! A declared program as a skill.

use std::{
    collections::BTreeMap,
    fmt, fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::{
    Shared,
    child::{self, Done, Job},
    confine::Confinement,
    declared::{Declaration, Format},
    place,
};
use crate::{
    error::{Error, ErrorKind, Result},
    json::{self, Limits},
    record::execution::Class,
    skill::{Skill, SkillContext, SkillInfo},
};

/// The longest text for a program's standard input, in bytes.
const STDIN: usize = 4 << 20;

/// A declared program, and where it lies.
pub(super) struct Program {
    pub(super) declared: Declaration,
    /// Where it was found; nothing when it is not installed.
    pub(super) found: Option<PathBuf>,
    pub(super) shared: Arc<Shared>,
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Command({} {})", self.declared.info.action(), self.declared.info.version)
    }
}

#[async_trait]
impl Skill for Program {
    fn info(&self) -> &SkillInfo {
        &self.declared.info
    }

    async fn run(&self, context: SkillContext, input: Value) -> Result<Value> {
        let Some(program) = &self.found else { return Err(self.missing()) };
        let inputs = self.inputs(input)?;
        // Before it is noted that something begins.
        let _place = self.shared.places.acquire().await.map_err(Error::internal)?;
        match self.declared.info.class {
            // What was cut is done again.
            Class::Read => self.perform(program, inputs).await,
            Class::Write | Class::Destructive => {
                context.once("run", || self.perform(program, inputs)).await
            }
        }
    }
}

impl Program {
    fn missing(&self) -> Error {
        let Declaration { program, install, .. } = &self.declared;
        let name = program.rsplit('/').next().unwrap_or(program);
        let message = format!("the program `{name}` is not installed on this server: {install}");
        Error::new(ErrorKind::ToolUnavailable, message)
    }

    /// The inputs with what holds when they are not given, and paths as what they lead to.
    fn inputs(&self, input: Value) -> Result<Map<String, Value>> {
        let Value::Object(mut inputs) = input else {
            return Err(Error::invalid("expected an object of inputs"));
        };
        for (name, default) in &self.declared.defaults {
            inputs.entry(name.clone()).or_insert_with(|| default.clone());
        }
        place::resolve(&mut inputs, &self.declared.paths, &self.shared.roots)?;
        // What a path leads to has to fit as what was written did.
        self.declared.info.input.check(&Value::Object(inputs.clone()))?;
        Ok(inputs)
    }

    async fn perform(&self, program: &Path, mut inputs: Map<String, Value>) -> Result<Value> {
        let declared = &self.declared;
        let scratch = self.scratch()?;
        inputs.insert("scratch".into(), scratch.path().to_string_lossy().into());
        let job = self.job(program, &inputs, scratch.path())?;
        let done = child::run(&job, &self.shared.launcher, self.shared.user).await?;
        // A large tree takes a while to remove.
        drop(tokio::task::spawn_blocking(move || drop(scratch)));
        if done.code.is_none_or(|code| !declared.success.contains(&code)) {
            return Err(self.failed(&done));
        }
        self.answer(done)
    }

    /// A directory of this run's own, which goes with it.
    fn scratch(&self) -> Result<TempDir> {
        let made = tempfile::Builder::new().prefix("skill-command-").tempdir();
        let made = made.and_then(|made| {
            fs::set_permissions(made.path(), fs::Permissions::from_mode(0o700))?;
            if let Some((user, group)) = self.shared.user {
                chown(made.path(), Some(user), Some(group))?;
            }
            Ok(made)
        });
        made.map_err(|cause| {
            let message = "there is no room for the program's own directory: try again later";
            Error::new(ErrorKind::Unavailable, message).caused_by(cause)
        })
    }

    fn job(&self, program: &Path, inputs: &Map<String, Value>, scratch: &Path) -> Result<Job> {
        let declared = &self.declared;
        let stdin = declared.stdin.as_ref().map(|template| template.fill(inputs));
        if stdin.as_ref().is_some_and(|text| text.len() > STDIN) {
            return Err(Error::new(ErrorKind::TooLarge, format!("expected at most {STDIN} bytes")));
        }
        let directory = declared.directory.as_ref().and_then(|name| inputs.get(name)?.as_str());
        Ok(Job {
            program: program.to_owned(),
            arguments: declared.arguments.fill(inputs)?,
            environment: self.environment(scratch),
            directory: directory.map_or_else(|| scratch.to_owned(), PathBuf::from),
            stdin,
            confinement: self.confinement(program, scratch),
            bounds: declared.bounds,
        })
    }

    /// Nothing of the server's own environment but what is declared.
    fn environment(&self, scratch: &Path) -> BTreeMap<String, String> {
        let scratch = scratch.to_string_lossy();
        let path = self.shared.path.iter().map(|path| path.to_string_lossy());
        let path = path.collect::<Vec<_>>().join(":");
        let own = [
            ("HOME", &*scratch),
            ("TMPDIR", &scratch),
            ("PATH", &path),
            ("LANG", "C.UTF-8"),
            ("TZ", "UTC"),
        ];
        let own = own.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let passed =
            self.declared.pass.iter().filter_map(|name| {
                Some((name.clone(), self.shared.environment.get(name)?.clone()))
            });
        own.into_iter().chain(passed).chain(self.declared.environment.iter().cloned()).collect()
    }

    fn confinement(&self, program: &Path, scratch: &Path) -> Confinement {
        let (declared, shared) = (&self.declared, &self.shared);
        let mut run = shared.read.clone();
        run.push(program.to_owned());
        let mut read = declared.reads.clone();
        match declared.runs_roots {
            true => run.extend(shared.roots.iter().cloned()),
            false => read.extend(shared.roots.iter().cloned()),
        }
        let mut write = declared.writes.clone();
        write.push(scratch.to_owned());
        let bounds = declared.bounds;
        Confinement {
            parent: std::process::id(),
            needs_landlock: shared.user.is_none(),
            run,
            read,
            write,
            network: declared.network,
            unix_sockets: declared.unix_sockets,
            may_detach: declared.may_detach,
            memory: bounds.memory,
            file: bounds.file,
            processes: bounds.processes,
            files: bounds.files,
            cpu: bounds.cpu,
        }
    }

    /// What it says may hold paths of this machine: that is for the log.
    fn failed(&self, done: &Done) -> Error {
        let name = &self.declared.info.name;
        let how = match (done.code, done.signal) {
            (Some(code), _) => format!("exit code {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => "no exit code".to_owned(),
        };
        tracing::warn!(command = %name, how, said = done.said, "a command failed");
        let message =
            format!("the program of `{name}` ended with {how}; the server's log has what it said");
        Error::new(ErrorKind::ActionFailed, message)
    }

    fn answer(&self, done: Done) -> Result<Value> {
        let (name, Done { printed, said, .. }) = (&self.declared.info.name, done);
        let wrong = |what: &str| {
            tracing::warn!(command = %name, said, "a command answered with something else");
            let message = format!(
                "expected {what} from the program of `{name}`; the server's log has what it said"
            );
            Error::new(ErrorKind::ActionFailed, message)
        };
        if self.declared.format == Format::Text {
            let text = String::from_utf8(printed).map_err(|_| wrong("text in UTF-8"))?;
            return Ok(json!({"output": text.trim_end_matches('\n')}));
        }
        json::check(&printed, &Limits::ANSWER).map_err(|_| wrong("JSON"))?;
        let answer = serde_json::from_slice(&printed).map_err(|_| wrong("JSON"))?;
        Ok(match &self.declared.findings {
            Some(findings) => findings.of(&answer),
            None => answer,
        })
    }
}
