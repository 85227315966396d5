//! One program while it runs: started by the launcher, read within bounds, ended with all that it
//! started.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    process::{ChildStdin, Command},
};

use super::{
    confine::Confinement,
    declared::Bounds,
    launch::{FAILED, Launcher, MISSING, UNCONFINED, WORD},
};
use crate::{
    clock::Deadline,
    error::{Error, ErrorKind, Result, Retry},
};

/// How much is kept of what a program says beside its answer.
const SAID: usize = 8 << 10;
/// How long pipes may stay open behind a program that has ended.
const GRACE: Duration = Duration::from_secs(1);
/// How often it is looked what a program and its children take.
const LOOK: Duration = Duration::from_millis(500);

/// What is to be run.
pub(super) struct Job {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) directory: PathBuf,
    pub(super) stdin: Option<String>,
    pub(super) confinement: Confinement,
    pub(super) bounds: Bounds,
}

/// How a program ended.
#[derive(Debug)]
pub(super) struct Done {
    /// Its exit code; `None` when a signal ended it.
    pub(super) code: Option<u8>,
    pub(super) signal: Option<i32>,
    pub(super) printed: Vec<u8>,
    /// The beginning of what it said beside.
    pub(super) said: String,
}

/// A process group that ends with this value, unless its leader was waited for.
struct Group(Option<Pid>);

impl Group {
    fn kill(&self) {
        if let Some(leader) = self.0 {
            // There is nobody left, then.
            _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs a program until it ends. Dropping the future ends it, and everything in its group.
///
/// # Errors
/// [`ErrorKind::Unavailable`] when no process can be made; [`ErrorKind::ActionFailed`] when it
/// prints or takes too much; [`ErrorKind::ToolUnavailable`] when it is not there or cannot be
/// confined.
pub(super) async fn run(job: &Job, launcher: &Launcher, user: Option<(u32, u32)>) -> Result<Done> {
    let mut child = command(job, launcher, user)?.spawn().map_err(unstarted)?;
    let leader = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    let leader = leader.ok_or_else(|| Error::internal("a process without a number"))?;
    let mut group = Group(Some(leader));
    // A process that has ended keeps its number, and that of its group, until it is waited for:
    // the signal below reaches nobody else.
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    let mut ended = tokio::task::spawn_blocking(move || waitid(WaitId::Pid(leader), look).is_ok());
    let (mut printed, mut said) = (Vec::new(), Vec::new());
    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let mut pumps = Box::pin(async {
        let (stdin, stdout, stderr) = pipes;
        let (fed, read, heard) = tokio::join!(
            feed(stdin, job.stdin.as_deref()),
            read(stdout, &mut printed, job.bounds.output),
            hear(stderr, &mut said),
        );
        fed.and(heard).map_err(unstarted).and(read)
    });
    let mut watch = Box::pin(watch(leader, job.bounds));
    let is_read = tokio::select! {
        read = &mut pumps => { read?; true }
        over = &mut watch => return Err(over),
        _ = &mut ended => false,
    };
    if is_read {
        tokio::select! {
            over = &mut watch => return Err(over),
            _ = &mut ended => {}
        }
    }
    group.kill();
    if !is_read {
        Deadline::after(GRACE).run(&mut pumps).await.unwrap_or(Ok(()))?;
    }
    drop(pumps);
    group.0 = None;
    let status = child.wait().await.map_err(unstarted)?;
    let said = String::from_utf8_lossy(&said).into_owned();
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    launched(code, &said)?;
    Ok(Done { code, signal: status.signal(), printed, said })
}

fn command(job: &Job, launcher: &Launcher, user: Option<(u32, u32)>) -> Result<Command> {
    let confinement = serde_json::to_string(&job.confinement).map_err(Error::internal)?;
    let mut command = Command::new(&launcher.0);
    command
        .arg(WORD)
        .arg(confinement)
        .arg(&job.program)
        .args(&job.arguments)
        .env_clear()
        .envs(&job.environment)
        .current_dir(&job.directory)
        .stdin(if job.stdin.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    if let Some((user, group)) = user {
        command.uid(user).gid(group);
    }
    Ok(command)
}

/// What the launcher says when it did not become the program.
fn launched(code: Option<u8>, said: &str) -> Result<()> {
    if code != Some(FAILED) {
        return Ok(());
    }
    let message = if said.starts_with(UNCONFINED) {
        "this server cannot confine commands: its log says why"
    } else if said.starts_with(MISSING) {
        "the program is not where it was when the server started: its log says why"
    } else {
        return Ok(());
    };
    tracing::error!(said, "a command did not start");
    Err(Error::new(ErrorKind::ToolUnavailable, message))
}

fn unstarted(error: io::Error) -> Error {
    let message = "the server can start no program at present: try again later";
    Error::new(ErrorKind::Unavailable, message).retry(Retry::Safe).caused_by(error)
}

/// Writes all of it; a program that does not read to the end knows what it does.
async fn feed(pipe: Option<ChildStdin>, text: Option<&str>) -> io::Result<()> {
    let (Some(mut pipe), Some(text)) = (pipe, text) else { return Ok(()) };
    match pipe.write_all(text.as_bytes()).await {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Reads an answer of at most `most` bytes.
async fn read(pipe: Option<impl AsyncRead + Unpin>, into: &mut Vec<u8>, most: usize) -> Result<()> {
    let Some(mut pipe) = pipe else { return Ok(()) };
    while pipe.read_buf(into).await.map_err(unstarted)? > 0 {
        if into.len() > most {
            let message = format!("the program printed more than {most} bytes, and was ended");
            return Err(Error::new(ErrorKind::ActionFailed, message));
        }
    }
    Ok(())
}

/// Reads to the end, and keeps the beginning.
async fn hear(pipe: Option<impl AsyncRead + Unpin>, into: &mut Vec<u8>) -> io::Result<()> {
    let Some(mut pipe) = pipe else { return Ok(()) };
    let mut chunk = [0; 4096];
    loop {
        let read = pipe.read(&mut chunk).await?;
        if read == 0 {
            return Ok(());
        }
        let room = SAID.saturating_sub(into.len());
        into.extend_from_slice(chunk.get(..read.min(room)).unwrap_or_default());
    }
}

/// Ends when a program and its children together take more than one of them may. The kernel's own
/// bounds hold for each process, and for the superuser only in part.
async fn watch(leader: Pid, bounds: Bounds) -> Error {
    loop {
        tokio::time::sleep(LOOK).await;
        let (threads, memory) = taken(leader);
        let what = if threads > u64::from(bounds.processes) {
            format!("more than {} processes and threads", bounds.processes)
        } else if memory > bounds.memory {
            format!("more than {} MiB of memory", bounds.memory >> 20)
        } else {
            continue;
        };
        return Error::new(ErrorKind::ActionFailed, format!("the program took {what}"));
    }
}

/// Threads of a process group, and bytes of memory that it has.
fn taken(leader: Pid) -> (u64, u64) {
    let leader = leader.as_raw_pid().to_string();
    let page = rustix::param::page_size() as u64;
    let of = |path: &Path| {
        let stat = fs::read_to_string(path.join("stat")).ok()?;
        // The name before the last bracket may hold anything.
        let fields = stat.rsplit_once(')')?.1.split_whitespace().collect::<Vec<_>>();
        let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
        (fields.get(2) == Some(&leader.as_str())).then_some((number(17)?, number(21)? * page))
    };
    let Ok(entries) = fs::read_dir("/proc") else { return (0, 0) };
    let all = entries.filter_map(|entry| of(&entry.ok()?.path()));
    all.fold((0, 0), |(threads, memory), (more, bytes)| (threads + more, memory + bytes))
}
