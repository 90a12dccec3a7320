//! What a process shall be: from OCI specifications, and from what a daemon adds.
use crate::json::Json;
use crate::system::{self, fail, failed, Failure, INVALID_ARGUMENT, UNIMPLEMENTED};
use std::ffi::c_ulong;
use std::fs;

#[derive(Debug, Default)]
pub struct Mount {
    pub kind: String,
    pub source: String,
    pub target: String, // below the root
    pub flags: c_ulong,
    pub data: String,
}

#[derive(Debug, Default)]
pub struct Spec {
    pub args: Vec<String>,
    pub env: Vec<String>,
    pub cwd: String,
    pub uid: u32,
    pub gid: u32,
    pub root: String,       // a directory, seen after the mounts were made
    pub mounts: Vec<Mount>, // in a mount namespace of its own, with which they go; none: no namespace
    pub stdin: String,      // fifos or files; empty: /dev/null
    pub stdout: String,
    pub stderr: String,
}

impl Mount {
    /// Options as they are written in specifications: each is a flag, or data for the file system.
    pub fn new(kind: &str, source: &str, target: &str, options: &[String]) -> Mount {
        let mut out = Mount { kind: kind.to_string(), source: source.to_string(), target: target.to_string(), ..Mount::default() };
        let mut data = Vec::new();
        for option in options {
            match flag(option) {
                Some(flag) => out.flags |= flag,
                None => data.push(option.as_str()),
            }
        }
        out.data = data.join(",");
        out
    }
}

fn flag(option: &str) -> Option<c_ulong> {
    Some(match option {
        "ro" => system::MS_RDONLY,
        "nosuid" => system::MS_NOSUID,
        "nodev" => system::MS_NODEV,
        "noexec" => system::MS_NOEXEC,
        "bind" => system::MS_BIND,
        "rbind" => system::MS_BIND | system::MS_REC,
        "noatime" => system::MS_NOATIME,
        "relatime" => system::MS_RELATIME,
        "strictatime" => system::MS_STRICTATIME,
        "rw" | "private" | "rprivate" | "slave" | "rslave" => 0,
        _ => return None,
    })
}

fn malformed<T>(what: &str) -> Result<T, Failure> {
    fail(INVALID_ARGUMENT, what)
}

/// A user or a group.
fn id(value: &Json) -> Result<u32, Failure> {
    match value.number().unwrap_or(0.0) {
        number if (0.0..f64::from(u32::MAX)).contains(&number) => Ok(number as u32),
        _ => malformed("uid or gid of the process is out of range"),
    }
}

impl Spec {
    /// `process` of an OCI specification, as JSON.
    pub fn of_process(text: &[u8]) -> Result<Spec, Failure> {
        match std::str::from_utf8(text).ok().and_then(Json::parse) {
            Some(process) => Spec::read_process(&process),
            None => malformed("the process is malformed JSON"),
        }
    }

    /// Process, root and mounts of a bundle's config.json.
    pub fn of_bundle(bundle: &str) -> Result<Spec, Failure> {
        let path = format!("{bundle}/config.json");
        let text = fs::read_to_string(&path).map_err(|error| failed(&path, &error))?;
        let read = match Json::parse(&text) {
            Some(spec) => Spec::read(&spec, bundle),
            None => malformed("malformed JSON"),
        };
        read.map_err(|why| Failure { code: why.code, text: format!("read {path}: {}", why.text) })
    }

    fn read(spec: &Json, bundle: &str) -> Result<Spec, Failure> {
        let mut out = Spec::read_process(spec.get("process"))?;
        out.root = match spec.get("root").get("path").text() {
            Some(root) if root.starts_with('/') => root.to_string(),
            Some(root) => format!("{bundle}/{root}"),
            None => return malformed("root has no path"),
        };
        for mount in spec.get("mounts").items() {
            let kind = mount.get("type").text().unwrap_or("");
            match (mount.get("destination").text(), mount.get("options").texts()) {
                (Some(_), Some(_)) if kind == "cgroup" => {}
                (Some(target), Some(options)) => out.mounts.push(Mount::new(kind, mount.get("source").text().unwrap_or(""), target, &options)),
                _ => return malformed("a mount has no destination, or options that are not text"),
            }
        }
        Ok(out)
    }

    fn read_process(process: &Json) -> Result<Spec, Failure> {
        let (args, env) = match (process.get("args").texts(), process.get("env").texts()) {
            (Some(args), Some(env)) => (args, env),
            _ => return malformed("args or env of the process are not all text"),
        };
        if args.is_empty() {
            return malformed("the process has no args");
        }
        if process.get("terminal") == &Json::Bool(true) {
            return fail(UNIMPLEMENTED, "this runtime has no terminals");
        }
        let user = process.get("user");
        let cwd = process.get("cwd").text().unwrap_or("/").to_string();
        Ok(Spec { args, env, cwd, uid: id(user.get("uid"))?, gid: id(user.get("gid"))?, ..Spec::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_process() {
        let spec = Spec::of_process(br#"{"args": ["sh"], "env": ["A=1"], "user": {"uid": 7, "gid": 4294967294}, "cwd": "/tmp"}"#).unwrap();
        assert_eq!((spec.args, spec.env, spec.uid, spec.gid, spec.cwd.as_str()), (vec!["sh".into()], vec!["A=1".into()], 7, 4294967294, "/tmp"));
    }

    #[test]
    fn refuses_what_it_cannot_be() {
        for (text, code) in [
            ("{\"args\": []}", INVALID_ARGUMENT),
            ("{\"args\": [1]}", INVALID_ARGUMENT),
            ("{\"args\": [\"a\"], \"user\": {\"uid\": -1}}", INVALID_ARGUMENT),
            ("{\"args\": [\"a\"], \"user\": {\"uid\": 4294967295}}", INVALID_ARGUMENT),
            ("{\"args\": [\"a\"], \"terminal\": true}", UNIMPLEMENTED),
            ("[", INVALID_ARGUMENT),
        ] {
            assert_eq!(Spec::of_process(text.as_bytes()).unwrap_err().code, code, "{text}");
        }
    }

    #[test]
    fn options_are_flags_or_data() {
        let options: Vec<String> = ["ro", "nosuid", "size=1m", "mode=755"].map(String::from).into();
        let mount = Mount::new("tmpfs", "tmpfs", "/dev", &options);
        assert_eq!(mount.flags, system::MS_RDONLY | system::MS_NOSUID);
        assert_eq!(mount.data, "size=1m,mode=755");
    }
}
