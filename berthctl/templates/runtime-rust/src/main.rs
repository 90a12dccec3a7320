//! The command line of a shim, as daemons use it: "start" answers with the address of a shim that serves the container, "delete" cleans
//! up after one that was killed. The working directory is the bundle.
mod json;
mod messages;
mod pb;
mod process;
mod service;
mod spec;
mod system;
mod ttrpc;

use service::Service;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::os::unix::io::{FromRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::process::{exit, Command, Stdio};
use std::thread;
use std::time::Duration;

const SOCKETS: &str = "/run/@name@";
const O_NONBLOCK: i32 = 0o4000;

#[derive(Default)]
struct Arguments {
    ns: String,
    id: String,
    command: String,
}

fn parse(mut words: impl Iterator<Item = String>) -> Arguments {
    let mut out = Arguments::default();
    while let Some(word) = words.next() {
        match word.trim_start_matches('-') {
            "v" if word.starts_with('-') => out.command = "version".to_string(),
            "debug" if word.starts_with('-') => {}
            name if word.starts_with('-') => {
                let value = words.next().unwrap_or_default();
                match name {
                    "namespace" => out.ns = value,
                    "id" => out.id = value,
                    _ => {}
                }
            }
            command => out.command = command.to_string(),
        }
    }
    out
}

/// Of the bundle, which no two containers share: its place on disk is a name that is short enough for sockets.
fn socket() -> io::Result<String> {
    let bundle = fs::metadata(".")?;
    Ok(format!("{SOCKETS}/{:x}-{:x}", bundle.dev(), bundle.ino()))
}

fn listen(path: &str) -> io::Result<UnixListener> {
    match DirBuilder::new().mode(0o700).create(SOCKETS) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    match UnixListener::bind(path) {
        // Nobody takes it who has died.
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && UnixStream::connect(path).is_err() => {
            fs::remove_file(path)?;
            UnixListener::bind(path)
        }
        bound => bound,
    }
}

/// Starts this program once more, as the shim, with the listening socket as its standard input.
fn start(arguments: &Arguments) -> io::Result<()> {
    let path = socket()?;
    let listener = listen(&path)?;
    // The daemon waits for the end of "start" and of its output; what the shim writes is in the daemon's log.
    let log = OpenOptions::new().write(true).custom_flags(O_NONBLOCK).open("log");
    Command::new(std::env::current_exe()?)
        .args(["-namespace", &arguments.ns, "-id", &arguments.id, "serve"])
        .stdin(Stdio::from(OwnedFd::from(listener)))
        .stdout(Stdio::null())
        .stderr(log.map_or_else(|_| Stdio::null(), Stdio::from))
        .process_group(0)
        .spawn()?;
    let address = format!("unix://{path}");
    fs::write("address", &address)?; // by which containerd 1.6 finds the shim again after a start of its own
    print!("{address}");
    io::stdout().flush()
}

fn serve(arguments: Arguments) -> io::Result<()> {
    let path = socket()?;
    // What start() gave it. Children have an input of their own in its place.
    let listener = unsafe { UnixListener::from_raw_fd(0) };
    let service = Service::new(arguments.ns, arguments.id, move || {
        let _ = fs::remove_file(&path);
        exit(0);
    });
    Err(ttrpc::serve(&listener, &service))
}

/// Kills the group of the first process and waits for its end, two seconds at most.
fn clean_up() -> io::Result<()> {
    let pid = fs::read_to_string("init.pid").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    if pid > 1 {
        let _ = system::kill(-pid, system::SIGKILL);
        for _ in 0..200 {
            if system::kill(pid, 0).is_err() {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
    let _ = fs::remove_file(socket()?);
    let mut response = messages::number_field(1, pid as u64);
    pb::add_number(&mut response, 2, 128 + system::SIGKILL as u64);
    pb::put_bytes(&mut response, 3, &ttrpc::timestamp(ttrpc::now()));
    io::stdout().write_all(&response)
}

fn main() {
    let arguments = parse(std::env::args().skip(1));
    if arguments.command == "version" {
        println!("containerd-shim-@name@-v1:\n  Version:  0.1.0");
        return;
    }
    if arguments.id.is_empty() || arguments.ns.is_empty() {
        eprintln!("usage: containerd-shim-@name@-v1 -namespace NS -id ID start|delete; daemons run it");
        exit(2);
    }
    let done = match arguments.command.as_str() {
        "start" => start(&arguments),
        "serve" => serve(arguments),
        "delete" => clean_up(),
        other => Err(io::Error::new(io::ErrorKind::InvalidInput, format!("there is no command \"{other}\""))),
    };
    if let Err(error) = done {
        eprintln!("{error}");
        exit(1);
    }
}
