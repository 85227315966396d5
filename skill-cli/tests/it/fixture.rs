//! A data directory, the program on it, and an outside service.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// The token that the outside service accepts.
pub(crate) const TOKEN: &str = "planted-token-a4c1";
/// How long something may take that takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// A data directory of its own.
pub(crate) struct Skill {
    directory: TempDir,
    servers: AtomicU32,
}

impl Skill {
    pub(crate) fn new() -> Self {
        Self { directory: TempDir::new().unwrap(), servers: AtomicU32::new(0) }
    }

    /// With the integration `echo`, which is `upstream`.
    pub(crate) fn with_echo(upstream: &Upstream) -> Self {
        let skill = Self::new();
        fs::create_dir_all(skill.data().join("integrations")).unwrap();
        let echo = include_str!("echo.toml").replace("ADDRESS", &upstream.address);
        fs::write(skill.data().join("integrations/echo.toml"), echo).unwrap();
        skill.configure(&format!("egress.allow = [\"{}\"]\n", upstream.address));
        skill
    }

    pub(crate) fn configure(&self, text: &str) {
        fs::create_dir_all(self.data()).unwrap();
        fs::write(self.data().join("skill.toml"), text).unwrap();
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// The program on this data directory, without anything of this machine's environment.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_skill"));
        command.env_clear().env("HOME", self.directory.path()).env("SKILL_DATA", self.data());
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs the program with text on its standard input.
    pub(crate) fn run_with(&self, args: &[&str], input: &str) -> Output {
        let mut child = self.command(args).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    /// What a command that succeeds prints, as JSON.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        json(&self.run(args))
    }

    /// Makes a key on the command line.
    pub(crate) fn key(&self) -> String {
        self.json(&["key", "create", "k"])["full_key"].as_str().unwrap().to_owned()
    }

    pub(crate) fn serve(&self) -> Server {
        self.serve_with(&[])
    }

    /// Starts a server and waits until it has said where it is.
    pub(crate) fn serve_with(&self, args: &[&str]) -> Server {
        let number = self.servers.fetch_add(1, Ordering::Relaxed);
        let file = |name: &str| self.directory.path().join(format!("{name}-{number}"));
        let (out, log) = (file("out"), file("log"));
        let mut command = self.command(&["serve", "--listen", "127.0.0.1:0"]);
        command.args(args).stdout(File::create(&out).unwrap()).stderr(File::create(&log).unwrap());
        let child = command.spawn().unwrap();
        let mut server = Server { child, out, log, address: String::new() };
        let line = wait_for(|| {
            let is_over = server.child.try_wait().unwrap().is_some();
            assert!(!is_over, "the server ended: {}", read(&server.log));
            let text = server.out();
            text.split_once('\n').map(|(line, _)| line.to_owned())
        });
        server.address = line.strip_prefix("listening on http://").unwrap().to_owned();
        server
    }
}

/// A running server. It is killed when this is dropped.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) address: String,
    out: PathBuf,
    log: PathBuf,
}

impl Server {
    pub(crate) fn out(&self) -> String {
        read(&self.out)
    }

    pub(crate) fn log(&self) -> String {
        read(&self.log)
    }

    /// The key of the first start, once all of the greeting was written.
    pub(crate) fn first_key(&self) -> String {
        let out = wait_for(|| Some(self.out()).filter(|out| out.contains("Ctrl-C")));
        keys_in(&out).into_iter().next().unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) fn stop(mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        wait_for(|| self.child.try_wait().unwrap())
    }

    /// One request, as curl sends it: status and body.
    pub(crate) fn request(&self, key: &str, line: &str, body: &str) -> (u16, String) {
        let mut answer = String::new();
        self.send(key, line, body).read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
    }

    /// The same, without waiting for the answer.
    pub(crate) fn send(&self, key: &str, line: &str, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let kind = if body.starts_with('{') { "json" } else { "x-www-form-urlencoded" };
        write!(
            stream,
            "{line} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nAuthorization: Bearer {key}\r\n\
             Content-Type: application/{kind}\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        )
        .unwrap();
        stream
    }

    /// A request that succeeds: its body.
    pub(crate) fn call(&self, key: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.request(key, &format!("POST {path}"), &body.to_string());
        assert_eq!(status, 200, "{answer}");
        serde_json::from_str(&answer).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An outside service that wants [`TOKEN`] and answers with what it was asked.
pub(crate) struct Upstream {
    pub(crate) address: String,
    slow: Arc<AtomicU32>,
}

impl Upstream {
    /// Starts one; it ends with the test's process.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let slow = Arc::new(AtomicU32::new(0));
        let seen = slow.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let seen = seen.clone();
                thread::spawn(move || answer(stream.unwrap(), &seen));
            }
        });
        Self { address, slow }
    }

    /// How many slow requests have come.
    pub(crate) fn slow(&self) -> u32 {
        self.slow.load(Ordering::SeqCst)
    }

    /// Waits until a slow request has come.
    pub(crate) fn wait_for_slow(&self) {
        wait_for(|| (self.slow() > 0).then_some(()));
    }
}

fn answer(mut stream: TcpStream, slow: &AtomicU32) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut head, mut line) = (String::new(), String::new());
    while reader.read_line(&mut line).is_ok_and(|count| count > 2) {
        head.push_str(&std::mem::take(&mut line));
    }
    let lower = head.to_lowercase();
    let length = lower.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    reader.read_exact(&mut body).unwrap();
    let Some(target) = head.split(' ').nth(1) else { return };
    let is_known = head.contains(&format!("Bearer {TOKEN}"));
    let (status, text) = match (is_known, target) {
        (false, _) => (401, r#"{"message":"bad credentials"}"#.to_owned()),
        (true, "/user") => (200, r#"{"login":"ada"}"#.to_owned()),
        (true, "/missing") => (404, r#"{"message":"not found"}"#.to_owned()),
        (true, _) => match target.strip_prefix("/slow/") {
            Some(ms) => {
                slow.fetch_add(1, Ordering::SeqCst);
                thread::sleep(Duration::from_millis(ms.parse().unwrap()));
                (200, r#"{"slow":true}"#.to_owned())
            }
            None => {
                let body = String::from_utf8(body).unwrap();
                (200, format!(r#"{{"large":12345678901234567890123,"body":{body}}}"#))
            }
        },
    };
    // Whoever asked may have gone.
    let _ = write!(
        stream,
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n{text}",
        text.len()
    );
}

/// Looks until there is something.
pub(crate) fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "nothing came in time");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Every API key in a text.
pub(crate) fn keys_in(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("sk_") && word.len() > 30).map(str::to_owned).collect()
}

pub(crate) fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", stderr(output));
    serde_json::from_slice(&output.stdout).unwrap()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}
