//! One process in a root file system: made, held, let run, waited for.
use crate::spec::{Mount, Spec};
use crate::system::{self, failed, Failure};
use std::ffi::{c_ulong, CString};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::io::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

/// A child of this program, held until start(). It leads a group.
pub struct Process {
    pid: u32,
    go: UnixStream,                    // a byte lets it run
    outcome: Receiver<io::Result<()>>, // whether it does
    input: Option<File>,               // the other end of its input: who holds it keeps it from reading the end
}

/// What programs expect in /dev, all of the kernel's memory devices.
const DEVICES: [(&str, u64); 5] = [("null", 3), ("zero", 5), ("full", 7), ("random", 8), ("urandom", 9)];

/// All that the child needs, made before it is: between fork and exec nothing may be allocated.
struct Plan {
    mounts: Vec<(CString, CString, CString, c_ulong, CString)>, // source, target, type, flags, data
    devices: Vec<(CString, u64)>,
    slash: CString,
    dot: CString,
    root: CString,
    cwd: CString,
    uid: u32,
    gid: u32,
    told: UnixStream,
    go: UnixStream,
    of_the_parent: [RawFd; 2], // the other ends of these two
}

fn c(text: &str) -> Result<CString, Failure> {
    CString::new(text).map_err(|error| failed(text, &error.into()))
}

impl Plan {
    fn new(spec: &Spec, told: UnixStream, go: UnixStream, of_the_parent: [RawFd; 2]) -> Result<Plan, Failure> {
        let mount = |mount: &Mount| {
            let target = format!("{}{}", spec.root, mount.target);
            Ok((c(&mount.source)?, c(&target)?, c(&mount.kind)?, mount.flags, c(&mount.data)?))
        };
        let mut devices = Vec::new();
        for (name, minor) in DEVICES.iter().filter(|_| !spec.mounts.is_empty()) {
            devices.push((c(&format!("{}/dev/{name}", spec.root))?, *minor));
        }
        Ok(Plan {
            mounts: spec.mounts.iter().map(mount).collect::<Result<_, Failure>>()?,
            devices,
            slash: c("/")?,
            dot: c(".")?,
            root: c(&spec.root)?,
            cwd: c(&spec.cwd)?,
            uid: spec.uid,
            gid: spec.gid,
            told,
            go,
            of_the_parent,
        })
    }

    fn prepare(&self) -> io::Result<()> {
        if !self.mounts.is_empty() {
            system::leave_mounts(&self.slash)?;
        }
        for (source, target, kind, flags, data) in &self.mounts {
            let _ = system::make_directory(target, 0o755); // those that are there stay
            system::mount(source, target, kind, *flags, data)?;
        }
        for (path, minor) in &self.devices {
            let _ = system::make_memory_device(path, *minor);
        }
        system::enter(&self.root, &self.dot, &self.cwd)
    }

    /// In the child, before the program is executed.
    fn carry_out(&mut self) -> io::Result<()> {
        self.of_the_parent.iter().for_each(|fd| system::close_inherited(*fd));
        let prepared = self.prepare();
        self.told.write_all(&std::process::id().to_ne_bytes())?;
        // Prepared or not, it is held here: who made it hears of the error when it is to run.
        self.go.read_exact(&mut [0])?;
        prepared?;
        system::become_user(self.uid, self.gid)
    }
}

fn open(path: &str, write: bool) -> Result<File, Failure> {
    let real = if path.is_empty() { "/dev/null" } else { path };
    OpenOptions::new().read(true).write(write).open(real).map_err(|error| failed(real, &error))
}

impl Process {
    /// Of a process that was made, `ended` is called once, on a thread of its own: with the child, which has ended and is to be waited
    /// for, or with nothing when its program was not executed.
    pub fn make(spec: &Spec, ended: impl FnOnce(Option<Child>) + Send + 'static) -> Result<Process, Failure> {
        let pipe = || UnixStream::pair().map_err(|error| failed("make a pipe", &error));
        let ((mut told, tell), (go, wait)) = (pipe()?, pipe()?);
        // Fifos are opened for both, so that nobody waits for the client and nothing ends when it goes.
        let input = if spec.stdin.is_empty() { None } else { Some(open(&spec.stdin, true)?) };
        let mut command = Command::new(&spec.args[0]);
        command
            .args(&spec.args[1..])
            .env_clear()
            .envs(spec.env.iter().filter_map(|variable| variable.split_once('=')))
            .stdin(Stdio::from(open(&spec.stdin, false)?))
            .stdout(Stdio::from(open(&spec.stdout, true)?))
            .stderr(Stdio::from(open(&spec.stderr, true)?))
            .process_group(0);
        let mut plan = Plan::new(spec, tell, wait, [told.as_raw_fd(), go.as_raw_fd()])?;
        unsafe { command.pre_exec(move || plan.carry_out()) };
        let (send, outcome) = mpsc::channel();
        let (made, is_made) = mpsc::channel();
        // spawn() returns when the program is executed.
        thread::spawn(move || {
            let spawned = command.spawn();
            drop(command);
            let (result, child) = match spawned {
                Ok(child) => (Ok(()), Some(child)),
                Err(error) => (Err(error), None),
            };
            let _ = send.send(result);
            if let Some(child) = &child {
                system::wait_for_end(child.id());
            }
            if is_made.recv().is_ok() {
                ended(child);
            } else if let Some(mut child) = child {
                let _ = child.wait();
            }
        });
        let mut pid = [0; 4];
        match told.read_exact(&mut pid) {
            Ok(()) => {
                let _ = made.send(());
                Ok(Process { pid: u32::from_ne_bytes(pid), go, outcome, input })
            }
            Err(error) => Err(failed("make a process", &outcome.recv().ok().and_then(Result::err).unwrap_or(error))),
        }
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// NOT_FOUND and the like when the program cannot be executed; it ends then.
    pub fn start(&mut self) -> Result<(), Failure> {
        self.go.write_all(b"g").map_err(|error| failed("let the process run", &error))?;
        match self.outcome.recv() {
            Ok(result) => result.map_err(|error| failed("run the program", &error)),
            Err(_) => Ok(()),
        }
    }

    pub fn close_input(&mut self) {
        self.input = None;
    }
}
