//! What is kept of things: labels and times, in messages as on disk.
#![allow(dead_code)] // not every plugin needs all of it
use crate::berth::{Code, Status};
use crate::pb::{self, Field, Malformed, Value};
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

pub type Labels = BTreeMap<String, String>;

/// Of a label, key and value together.
const LONGEST_LABEL: usize = 4096;

/// google.protobuf.Timestamp
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    seconds: u64,
    nanos: u64,
}

impl From<SystemTime> for Time {
    fn from(time: SystemTime) -> Time {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Time { seconds: since.as_secs(), nanos: since.subsec_nanos().into() }
    }
}

impl Time {
    pub fn now() -> Time {
        SystemTime::now().into()
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        pb::add_number(&mut out, 1, self.seconds);
        pb::add_number(&mut out, 2, self.nanos);
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Time, Malformed> {
        let mut time = Time::default();
        for field in pb::fields(bytes) {
            match field? {
                Field { number: 1, value: Value::Number(value) } => time.seconds = value,
                Field { number: 2, value: Value::Number(value) } => time.nanos = value,
                _ => {}
            }
        }
        Ok(time)
    }
}

/// Adds a map<string, string>.
pub fn put_labels(out: &mut Vec<u8>, number: u64, labels: &Labels) {
    for (key, value) in labels {
        let mut entry = pb::put_text(1, key);
        pb::add_text(&mut entry, 2, value);
        pb::put_bytes(out, number, &entry);
    }
}

/// Takes an entry of a map<string, string>.
pub fn take_label(labels: &mut Labels, bytes: &[u8]) -> Result<(), Malformed> {
    let (key, value) = pb::entry(bytes)?;
    labels.insert(key, value);
    Ok(())
}

pub fn check_labels(labels: &Labels) -> Result<(), Status> {
    match labels.iter().find(|(key, value)| key.len() + value.len() > LONGEST_LABEL) {
        Some((key, _)) => Err(Status::new(
            Code::InvalidArgument,
            format!("label {:.100}: key and value have more than {} bytes", key, LONGEST_LABEL),
        )),
        None => Ok(()),
    }
}

/// A field mask has "labels" and "labels.KEY", nothing else.
pub fn check_label_mask(what: &str, mask: &[String]) -> Result<(), Status> {
    match mask.iter().find(|path| *path != "labels" && !path.starts_with("labels.")) {
        Some(path) => {
            Err(Status::new(Code::InvalidArgument, format!("update {}: {} cannot be changed", what, path)))
        }
        None => Ok(()),
    }
}

/// Those of `wanted` that the mask names, or all without one, in place of what is there.
pub fn update_labels(labels: &mut Labels, wanted: Labels, mask: &[String]) {
    let masked = |label: &String| {
        let named = |path: &String| path == "labels" || path.strip_prefix("labels.") == Some(label.as_str());
        mask.is_empty() || mask.iter().any(named)
    };
    labels.retain(|label, _| !masked(label));
    labels.extend(wanted.into_iter().filter(|(label, _)| masked(label)));
}
