//! What a program may do, and how a process takes on these bounds before it becomes the program.
//!
//! Nothing here runs between `fork` and `exec` of the server: a small launcher is started, which
//! bounds itself and then becomes the program. Bounds of a process hold for all that it starts.
//!
//! - **Files** (Landlock): what is not listed cannot be opened, whoever the process runs as.
//! - **System calls** (seccomp): no sockets but those that are declared, no way out of the process
//!   group, nothing that mounts, traces or reaches into the kernel.
//! - **Sizes** (rlimits), and no privilege: none is kept, and none can be had again.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, RestrictionStatus,
    Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetStatus, Scope, path_beneath_rules,
};
use rustix::{
    process::{
        Pid, Resource, Rlimit, Signal, getppid, getuid, set_parent_process_death_signal, setrlimit,
    },
    thread::{CapabilitySet, CapabilitySets, set_capabilities, set_no_new_privs},
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};
use serde::{Deserialize, Serialize};

/// What every program may read and run: the system, without what is kept for its owners.
pub(super) const SYSTEM: &[&str] =
    &["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store", "/opt"];
/// What every program may read.
pub(super) const FACTS: &[&str] = &[
    "/dev/random",
    "/dev/urandom",
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/ca-certificates.conf",
    "/etc/gai.conf",
    "/etc/group",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/nsswitch.conf",
    "/etc/os-release",
    "/etc/passwd",
    "/etc/pki",
    "/etc/protocols",
    "/etc/resolv.conf",
    "/etc/services",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/terminfo",
    "/etc/timezone",
    "/proc/cpuinfo",
    "/proc/filesystems",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/sys/kernel/cap_last_cap",
    "/proc/sys/kernel/osrelease",
    "/proc/sys/vm/overcommit_memory",
    "/proc/uptime",
    "/proc/version",
    "/run/systemd/resolve",
    "/sys/devices/system/cpu",
    "/sys/fs/cgroup",
    "/sys/kernel/mm/transparent_hugepage",
];
/// Devices that every program may read and write.
const DEVICES: &[&str] = &["/dev/full", "/dev/null", "/dev/zero"];

/// System calls that no program makes.
const REFUSED: &[i64] = &[
    libc::SYS_add_key,
    libc::SYS_bpf,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_keyctl,
    libc::SYS_mount,
    libc::SYS_perf_event_open,
    libc::SYS_pivot_root,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_request_key,
    libc::SYS_setns,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
];
/// System calls that lead out of the process group, so that it could not be ended with it.
const DETACHING: &[i64] = &[libc::SYS_setpgid, libc::SYS_setsid];
/// Calls of the x32 kind have this bit, and mean the same.
const X32: i64 = 0x4000_0000;

/// The bounds of one process, as they are handed to the launcher.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Confinement {
    /// The process that has to live as long as this one.
    pub(super) parent: u32,
    /// Without Landlock the process does not start; otherwise it runs as somebody else.
    pub(super) needs_landlock: bool,
    /// What may be read and run.
    pub(super) run: Vec<PathBuf>,
    /// What may be read.
    pub(super) read: Vec<PathBuf>,
    /// What may be read and written; programs there cannot be run.
    pub(super) write: Vec<PathBuf>,
    pub(super) network: bool,
    pub(super) unix_sockets: bool,
    pub(super) may_detach: bool,
    pub(super) memory: u64,
    pub(super) file: u64,
    pub(super) processes: u32,
    pub(super) files: u32,
    pub(super) cpu: u32,
}

/// Says whether programs can be confined here.
///
/// # Errors
/// Why not, and what to do.
pub(super) fn available() -> Result<(), String> {
    let made = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(ABI::V1))
        .and_then(Ruleset::create);
    made.map(drop).map_err(|_| {
        "the kernel has no Landlock (Linux 5.13 with CONFIG_SECURITY_LANDLOCK, and `landlock` in \
         the boot parameter lsm=)"
            .to_owned()
    })
}

impl Confinement {
    /// Puts the bounds on this process, which has no threads but this one.
    ///
    /// # Errors
    /// What could not be bounded.
    pub(super) fn apply(&self) -> Result<(), String> {
        self.die_with_parent().map_err(|error| format!("its end with the server: {error}"))?;
        self.limit().map_err(|error| format!("its sizes: {error}"))?;
        set_no_new_privs(true).map_err(|error| format!("its privileges: {error}"))?;
        self.close_files().map_err(|error| format!("its files: {error}"))?;
        let none = CapabilitySet::empty();
        let none = CapabilitySets { effective: none, permitted: none, inheritable: none };
        set_capabilities(None, none).map_err(|error| format!("its privileges: {error}"))?;
        let filter = self.filter().map_err(|error| format!("its system calls: {error}"))?;
        seccompiler::apply_filter(&filter).map_err(|error| format!("its system calls: {error}"))
    }

    fn die_with_parent(&self) -> io::Result<()> {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // It may have died before that.
        let parent = getppid().map(Pid::as_raw_pid);
        match parent.is_some_and(|parent| u32::try_from(parent) == Ok(self.parent)) {
            true => Ok(()),
            false => Err(io::Error::other("the server has ended")),
        }
    }

    fn limit(&self) -> io::Result<()> {
        let processes = u64::from(self.processes) + running();
        let limits = [
            (Resource::As, self.memory),
            (Resource::Fsize, self.file),
            (Resource::Nproc, processes),
            (Resource::Nofile, self.files.into()),
            (Resource::Cpu, self.cpu.into()),
            (Resource::Core, 0),
        ];
        for (resource, most) in limits {
            setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?;
        }
        Ok(())
    }

    fn close_files(&self) -> Result<(), String> {
        let status = self.landlocked().map_err(|error| error.to_string())?;
        match status.ruleset {
            RulesetStatus::NotEnforced if self.needs_landlock => available(),
            RulesetStatus::NotEnforced
            | RulesetStatus::PartiallyEnforced
            | RulesetStatus::FullyEnforced => Ok(()),
        }
    }

    /// What the kernel knows of the newest rules is applied; the oldest have to be there.
    fn landlocked(&self) -> Result<RestrictionStatus, landlock::RulesetError> {
        let must = match self.needs_landlock {
            true => CompatLevel::HardRequirement,
            false => CompatLevel::BestEffort,
        };
        let all = AccessFs::from_all(ABI::V5);
        let mut rules = Ruleset::default()
            .set_compatibility(must)
            .handle_access(AccessFs::from_all(ABI::V1))?
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(all)?
            .scope(Scope::from_all(ABI::V6))?;
        if !self.network {
            rules = rules.handle_access(AccessNet::from_all(ABI::V4))?;
        }
        let read = AccessFs::ReadFile | AccessFs::ReadDir;
        let device = AccessFs::ReadFile | AccessFs::WriteFile;
        // No sockets, pipes or devices: whoever finds one there may take it for another.
        let write = read
            | AccessFs::WriteFile
            | AccessFs::Truncate
            | AccessFs::RemoveFile
            | AccessFs::RemoveDir
            | AccessFs::MakeReg
            | AccessFs::MakeDir
            | AccessFs::MakeSym
            | AccessFs::Refer;
        let own = [PathBuf::from("/proc/self")];
        rules
            .create()?
            .add_rules(path_beneath_rules(SYSTEM, AccessFs::from_read(ABI::V1)))?
            .add_rules(path_beneath_rules(&self.run, AccessFs::from_read(ABI::V1)))?
            .add_rules(path_beneath_rules(FACTS, read))?
            .add_rules(path_beneath_rules(own, read))?
            .add_rules(path_beneath_rules(&self.read, read))?
            .add_rules(path_beneath_rules(DEVICES, device))?
            .add_rules(path_beneath_rules(&self.write, write))?
            .restrict_self()
    }

    fn filter(&self) -> Result<BpfProgram, seccompiler::Error> {
        let detaching = if self.may_detach { &[] } else { DETACHING };
        let refused = REFUSED.iter().chain(detaching).map(|call| (*call, Vec::new()));
        let mut rules = refused.collect::<BTreeMap<i64, Vec<SeccompRule>>>();
        rules.insert(libc::SYS_socket, self.sockets()?);
        let arch = TargetArch::try_from(std::env::consts::ARCH)?;
        if arch == TargetArch::x86_64 {
            let again = rules.iter().map(|(call, rules)| (call | X32, rules.clone()));
            let again = again.collect::<Vec<_>>();
            rules.extend(again);
        }
        let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch)?;
        Ok(filter.try_into()?)
    }

    /// Which sockets are refused: all that are of none of the declared kinds.
    fn sockets(&self) -> Result<Vec<SeccompRule>, seccompiler::Error> {
        let mut kinds = Vec::new();
        if self.network {
            kinds.extend([libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK]);
        }
        if self.unix_sockets {
            kinds.push(libc::AF_UNIX);
        }
        let other = |kind: i32| {
            let (kind, word) = (u64::from(kind.unsigned_abs()), SeccompCmpArgLen::Dword);
            SeccompCondition::new(0, word, SeccompCmpOp::Ne, kind)
        };
        let others = kinds.into_iter().map(other).collect::<Result<Vec<_>, _>>()?;
        match others.is_empty() {
            true => Ok(Vec::new()),
            false => Ok(vec![SeccompRule::new(others)?]),
        }
    }
}

/// How many processes and threads this user has: the kernel's bound counts all of them.
fn running() -> u64 {
    let me = getuid().as_raw().to_string();
    let threads = |path: &Path| {
        let status = fs::read_to_string(path.join("status")).ok()?;
        let value = |key: &str| status.lines().find_map(|line| line.strip_prefix(key));
        let is_mine = value("Uid:")?.split_whitespace().next() == Some(me.as_str());
        value("Threads:")?.trim().parse::<u64>().ok().filter(|_| is_mine)
    };
    let Ok(entries) = fs::read_dir("/proc") else { return 0 };
    entries.filter_map(|entry| threads(&entry.ok()?.path())).sum()
}
