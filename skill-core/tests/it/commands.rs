//! Local programs as skills: what they are given, what they cannot reach, and how they end.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};
use skill_core::{
    ErrorKind,
    access::Admission,
    call::{Failure, Outcome},
    clock::Deadline,
    command::{Commands, Declaration, Launcher, Settings},
    id::ExecutionId,
    queue::{Run, Submission},
    record::execution::State,
};
use tempfile::TempDir;

use super::fixture::{World, call};

/// A place with something to read, and something that is nobody's business.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        fs::create_dir(place.root()).unwrap();
        fs::create_dir(place.data()).unwrap();
        fs::write(place.root().join("open.txt"), "open").unwrap();
        fs::write(place.data().join("seal.key"), "secret").unwrap();
        // Whoever has another name than the owner gets to the root, and not to the data.
        fs::set_permissions(place.0.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(place.data(), fs::Permissions::from_mode(0o700)).unwrap();
        place
    }

    fn root(&self) -> PathBuf {
        self.0.path().join("root")
    }

    fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }

    fn settings(&self) -> Settings {
        Settings {
            roots: vec![self.root()],
            closed: vec![self.data()],
            launcher: Launcher::at(env!("CARGO_BIN_EXE_skill-launcher")),
            environment: BTreeMap::from([
                ("PASSED".to_owned(), "on".to_owned()),
                ("SEALED".to_owned(), "never".to_owned()),
            ]),
            ..Settings::default()
        }
    }

    /// An engine with the command `test/run`, declared so.
    async fn with(&self, declared: &str) -> Bench {
        Bench::new(self.settings(), declared).await
    }
}

struct Bench(World);

impl Bench {
    async fn new(settings: Settings, declared: &str) -> Self {
        Self::over(&World::new().await, settings, declared).await
    }

    /// A process that shares the store of `world`.
    async fn over(world: &World, settings: Settings, declared: &str) -> Self {
        let text = format!(
            "skill = \"test/v1.0/run\"\nsummary = \"Run\"\ninstall = \"apt install it\"\n{declared}"
        );
        let declaration = Declaration::read("run.toml", &text);
        let declaration = declaration.unwrap_or_else(|problems| panic!("{problems:?}"));
        let skill = Commands::new(settings).unwrap().skill(declaration).unwrap();
        Self(world.another_with(|builder| builder.skill(skill.clone())).await)
    }

    async fn submit(&self, inputs: &Value) -> ExecutionId {
        let admitted = match self.0.engine.keys().admit(self.0.caller.clone()).await.unwrap() {
            Admission::Admitted(admitted) => admitted,
            Admission::Refused(_) => panic!("nothing is limited"),
        };
        let inputs = inputs.as_object().unwrap();
        let call = inputs
            .iter()
            .fold(call("test", "run"), |call, (name, value)| call.param(name, value.clone()));
        self.0.engine.runs().submit(&admitted, Submission::new(call)).await.unwrap().id
    }

    async fn ended(&self, id: ExecutionId) -> Run {
        let deadline = Deadline::after(Duration::from_secs(60));
        let run = self.0.engine.runs().wait(&self.0.caller, id, deadline).await.unwrap();
        assert!(run.execution.state.is_final(), "{:?}", run.execution);
        run
    }

    async fn value(&self, inputs: Value) -> Value {
        match self.ended(self.submit(&inputs).await).await.outcome {
            Some(Outcome::Answer { data, .. }) => data.json().unwrap(),
            other => panic!("no value: {other:?}"),
        }
    }

    async fn output(&self, inputs: Value) -> String {
        self.value(inputs).await["output"].as_str().unwrap().to_owned()
    }

    async fn failure(&self, inputs: Value) -> Failure {
        match self.ended(self.submit(&inputs).await).await.outcome {
            Some(Outcome::Failed(failure)) => failure,
            other => panic!("no failure: {other:?}"),
        }
    }
}

/// How many processes of this machine have `word` as an argument of their own.
fn processes_with(word: &str) -> usize {
    let has = |path: &Path| {
        let line = fs::read(path.join("cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).filter(|part| *part == word.as_bytes()).count() > 0
    };
    fs::read_dir("/proc").unwrap().filter(|entry| has(&entry.as_ref().unwrap().path())).count()
}

/// Waits until there are so many.
async fn until_processes(word: &str, count: usize) {
    let seen = async {
        while processes_with(word) != count {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let in_time = Deadline::after(Duration::from_secs(20)).run(seen).await;
    in_time.unwrap_or_else(|| panic!("{} processes with {word}", processes_with(word)));
}

const PERL: &str = "class = \"read\"\nprogram = \"/usr/bin/perl\"\nanswer = \"text\"\n\
                    arguments = [\"-e\", \"{code}\"]\n\
                    inputs.code = { type = \"string\", required = true }\n";

const CAT: &str = "class = \"read\"\nprogram = \"/bin/cat\"\nanswer = \"text\"\n\
                   arguments = [\"--\", \"{file}\"]\n\
                   inputs.file = { type = \"string\", required = true }\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_has_no_environment_but_what_is_declared() {
    let place = Place::new();
    let declared = "class = \"read\"\nprogram = \"env\"\nanswer = \"text\"\n\
                    pass = [\"PASSED\"]\nenvironment = { FIXED = \"yes\" }\n";
    let output = place.with(declared).await.output(json!({})).await;
    let mut names = output.lines().map(|line| line.split_once('=').unwrap().0).collect::<Vec<_>>();
    names.sort_unstable();
    assert_eq!(names, ["FIXED", "HOME", "LANG", "PASSED", "PATH", "TMPDIR", "TZ"], "{output}");
}

#[tokio::test]
async fn standard_input_and_arguments_arrive_as_they_are() {
    let place = Place::new();
    let declared = "class = \"read\"\nprogram = \"/bin/cat\"\nanswer = \"json\"\n\
                    stdin = '{{\"got\": {text}}}'\ninputs.text = { type = \"string\" }\n";
    let text = serde_json::to_string("a\n$(id) `id` ; é").unwrap();
    let value = place.with(declared).await.value(json!({"text": text})).await;
    assert_eq!(value, json!({"got": "a\n$(id) `id` ; é"}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_are_not_listed_cannot_be_read_or_written() {
    let place = Place::new();
    let bench = place.with(CAT).await;
    let file = |path: PathBuf| json!({"file": path.to_str().unwrap()});
    assert_eq!(bench.output(file(place.root().join("open.txt"))).await, "open");
    for closed in [place.data().join("seal.key"), "/etc/shadow".into(), "/proc/1/environ".into()] {
        assert!(closed.exists());
        assert_eq!(bench.failure(file(closed)).await.kind, ErrorKind::ActionFailed);
    }
    let perl = place.with(PERL).await;
    for target in [place.root().join("new"), place.data().join("new"), "/tmp/skill-new".into()] {
        let code = format!("open(F, '>', '{}') or exit 3; print 'written'", target.display());
        let failure = perl.failure(json!({"code": code})).await;
        assert!(failure.error().message().contains("exit code 3"), "{failure:?}");
        assert!(!target.exists());
    }
    let own = "open(F, '>', \"$ENV{HOME}/x\") or exit 3; print F 'x'; print 'written'";
    assert_eq!(perl.output(json!({"code": own})).await, "written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_has_to_lead_below_a_root() {
    let place = Place::new();
    let declared = CAT.replace("type = \"string\"", "type = \"string\", path = \"file\"");
    let bench = place.with(&declared).await;
    assert_eq!(bench.output(json!({"file": "open.txt"})).await, "open");
    std::os::unix::fs::symlink(place.data().join("seal.key"), place.root().join("link")).unwrap();
    for path in ["link", "../data/seal.key", "/etc/passwd", "nothing", "."] {
        let failure = bench.failure(json!({"file": path})).await;
        assert_eq!(failure.kind, ErrorKind::InvalidInput, "{path}");
        assert!(!format!("{failure:?}").contains("data"), "{failure:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_has_no_privilege_and_cannot_get_any() {
    let place = Place::new();
    let bench = place.with(CAT).await;
    let status = bench.output(json!({"file": "/proc/self/status"})).await;
    for line in ["CapPrm:\t0000000000000000", "CapEff:\t0000000000000000", "NoNewPrivs:\t1"] {
        assert!(status.contains(line), "{line} is not in {status}");
    }
    assert!(status.contains("Seccomp:\t2"), "{status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_declared_kinds_of_sockets_can_be_made() {
    let place = Place::new();
    let code = "use Socket; print join ',', map { socket(my $s, $_, SOCK_STREAM, 0) ? 1 : 0 } \
                (PF_INET, PF_UNIX)";
    for (declared, can) in [
        ("", "0,0"),
        ("network = true\n", "1,0"),
        ("unix_sockets = true\n", "0,1"),
        ("network = true\nunix_sockets = true\n", "1,1"),
    ] {
        let bench = place.with(&format!("{declared}{PERL}")).await;
        assert_eq!(bench.output(json!({"code": code})).await, can, "{declared}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_cannot_leave_its_group_unless_it_is_declared_to() {
    let place = Place::new();
    let code = "use POSIX; if (my $child = fork) { waitpid $child, 0; exit } \
                print POSIX::setsid() > 0 ? 'out' : 'in'";
    let code = json!({"code": code});
    assert_eq!(place.with(PERL).await.output(code.clone()).await, "in");
    let free = place.with(&format!("may_detach = true\n{PERL}")).await;
    assert_eq!(free.output(code).await, "out");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_run_takes_every_process_along() {
    let place = Place::new();
    let declared = "class = \"read\"\nprogram = \"timeout\"\nanswer = \"text\"\n\
                    arguments = [\"900\", \"sleep\", \"314159.26\"]\n";
    let bench = place.with(declared).await;
    let id = bench.submit(&json!({})).await;
    until_processes("314159.26", 2).await;
    bench.0.engine.runs().cancel(&bench.0.caller, id).await.unwrap();
    until_processes("314159.26", 0).await;
    assert_eq!(bench.ended(id).await.execution.state, State::Cancelled);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_takes_too_long_is_ended() {
    let place = Place::new();
    let declared = "class = \"read\"\nprogram = \"timeout\"\nanswer = \"text\"\ntimeout_s = 1\n\
                    arguments = [\"900\", \"sleep\", \"271828.18\"]\n";
    let failure = place.with(declared).await.failure(json!({})).await;
    assert_eq!(failure.kind, ErrorKind::Timeout);
    until_processes("271828.18", 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_program_leaves_behind_ends_with_it() {
    let place = Place::new();
    let code = "if (!fork) { exec 'sleep', '161803.39' } print 'gone'";
    let output = place.with(PERL).await.output(json!({"code": code})).await;
    assert_eq!(output, "gone");
    until_processes("161803.39", 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sizes_are_bounded() {
    let place = Place::new();
    let too_much = async |limit: &str, code: &str| {
        let bench = place.with(&format!("limits.{limit}\n{PERL}")).await;
        let failure = bench.failure(json!({"code": code})).await;
        assert_eq!(failure.kind, ErrorKind::ActionFailed, "{code}");
        failure.error().message().to_owned()
    };
    let said = too_much("output_mb = 1", "print 'x' x 4096 while 1").await;
    assert!(said.contains("printed more than 1048576 bytes"), "{said}");
    let said = too_much("memory_mb = 64", "my $x = 'x' x (512 << 20); print length $x").await;
    assert!(said.contains("ended with"), "{said}");
    let write = "open(F, '>', \"$ENV{HOME}/x\"); print F 'x' x (4 << 20); close F; print 'all'";
    let said = too_much("file_mb = 1", write).await;
    assert!(said.contains("signal 25"), "{said}");
    let fork = "for (1..200) { my $p = fork; exit 4 unless defined $p; if (!$p) { sleep 60; exit } } \
                sleep 60";
    let said = too_much("processes = 20", fork).await;
    assert!(said.contains("more than 20 processes") || said.contains("exit code 4"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exit_codes_and_answers_are_what_was_declared() {
    let place = Place::new();
    let ended = json!({"code": "print '[{\"x\": 1}]'; exit 3"});
    let json = PERL.replace("text", "json");
    let failure = place.with(&json).await.failure(ended.clone()).await;
    assert!(failure.error().message().contains("exit code 3"), "{failure:?}");
    let declared =
        format!("success = [0, 3]\n{json}[output]\nfindings = [\"/*\"]\ncounts_by = \"/x\"\n");
    let value = place.with(&declared).await.value(ended).await;
    assert_eq!(value, json!({"findings": [{"x": 1}], "counts": {"total": 1, "1": 1}}));
    let nested = json!({"code": "print '[' x 5000"});
    let failure = place.with(&json).await.failure(nested).await;
    assert!(failure.error().message().contains("expected JSON"), "{failure:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_is_not_installed_says_what_to_install() {
    let place = Place::new();
    for program in ["nothing-of-this-name", "/usr/bin/nothing-of-this-name"] {
        let bench = place.with(&format!("program = \"{program}\"\n")).await;
        let failure = bench.failure(json!({})).await;
        assert_eq!(failure.kind, ErrorKind::ToolUnavailable);
        let said = failure.error().message().to_owned();
        assert!(said.contains("apt install it") && !said.contains("/usr"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_changes_something_is_not_run_twice() {
    let place = Place::new();
    let declared = "class = \"write\"\nprogram = \"sleep\"\nanswer = \"text\"\n\
                    arguments = [\"577215.66\"]\n";
    let first = place.with(declared).await;
    let id = first.submit(&json!({})).await;
    until_processes("577215.66", 1).await;
    // The first process is lost for the store, not for this machine.
    let second = Bench::over(&first.0, place.settings(), declared).await;
    match second.ended(id).await.outcome {
        Some(Outcome::Failed(failure)) => assert_eq!(failure.kind, ErrorKind::OutcomeUnknown),
        other => panic!("no failure: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_can_run_as_somebody_else() {
    let place = Place::new();
    let settings = Settings { user: Some((65_534, 65_534)), ..place.settings() };
    if !rustix::process::geteuid().is_root() {
        let refused = Commands::new(settings).unwrap_err();
        assert!(refused.message().contains("only root"), "{refused}");
        return;
    }
    // Landlock would stop it too; the file's owner is another one as well.
    let bench = Bench::new(settings, PERL).await;
    let code =
        "print join ',', $<, $>, ($( =~ /^(\\d+)/), (-e $ENV{HOME} && -w $ENV{HOME} ? 1 : 0)";
    assert_eq!(bench.output(json!({"code": code})).await, "65534,65534,65534,1");
}

#[tokio::test]
async fn what_is_closed_cannot_be_opened_by_mistake() {
    let place = Place::new();
    for settings in [
        Settings { roots: vec![place.0.path().into()], ..place.settings() },
        Settings { read: vec![place.data()], ..place.settings() },
        Settings { closed: vec!["/usr/share/skill".into()], ..place.settings() },
        Settings { roots: vec!["/nothing/there".into()], ..place.settings() },
        Settings { roots: vec!["relative".into()], ..place.settings() },
    ] {
        assert_eq!(Commands::new(settings).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    let commands = Commands::new(place.settings()).unwrap();
    let text = format!(
        "skill = \"test/v1.0/run\"\nsummary = \"Run\"\ninstall = \"x\"\nprogram = \"cat\"\n\
         reads = [\"{}\"]\n",
        place.data().display()
    );
    let refused = commands.skill(Declaration::read("run.toml", &text).unwrap());
    assert!(refused.unwrap_err().message().starts_with("run.toml: "));
}

#[test]
fn every_problem_of_a_declaration_is_named_with_its_line() {
    let text = "skill = \"test/run\"\nsummary = \"Run\"\nprogram = \"bin/run\"\n\
                class = \"odd\"\narguments = [\"{missing}\", 1]\nanswer = \"xml\"\n\
                success = [300]\nother = 1\nenvironment = { LD_PRELOAD = \"x\" }\n\
                inputs.unused = { type = \"string\", path = \"odd\" }\n";
    let problems = Declaration::read("run.toml", text).unwrap_err();
    let all = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    for expected in [
        "run.toml:1: `skill`: expected category, version and name",
        "run.toml:1: expected `install`, a string",
        "run.toml:3: `program`: expected a name, or an absolute path",
        "run.toml:5: `arguments`: expected strings",
        "run.toml:10: `path`: expected `any`, `file` or `directory`",
    ] {
        assert!(all.contains(expected), "{expected}\nis not in\n{all}");
    }
    let named = "skill = \"test/v1/run\"\nsummary = \"Run\"\nprogram = \"run\"\ninstall = \"x\"\n\
                 arguments = [\"{missing}\"]\ninputs.unused = { type = \"string\" }\nother = 1\n";
    let problems = Declaration::read("run.toml", named).unwrap_err();
    let all = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    for expected in [
        "run.toml:5: `arguments`: there is no input `missing`",
        "run.toml:6: the input `unused` is used nowhere",
        "run.toml:7: `other` is not known here",
    ] {
        assert!(all.contains(expected), "{expected}\nis not in\n{all}");
    }
}

#[test]
fn a_declaration_extends_a_bundled_one() {
    let own = "extends = \"semgrep-scan\"\nprogram = \"/opt/semgrep/bin/semgrep\"\n";
    let declaration = Declaration::read("semgrep-scan.toml", own).unwrap();
    assert_eq!(declaration.program(), "/opt/semgrep/bin/semgrep");
    assert_eq!(declaration.name().as_str(), "semgrep-scan");
    let unknown = Declaration::read("x.toml", "extends = \"nothing\"\n").unwrap_err();
    assert!(unknown[0].what.contains("no bundled command `nothing`"), "{unknown:?}");
}
