//! containerd.services.content.v1.Info and Status: what is known of blobs and ingests, in answers as on disk.
use crate::pb::{self, Field, Malformed, Value};
use crate::records::{self, Labels, Time};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Info {
    pub digest: String,
    pub size: u64,
    pub created: Time,
    pub updated: Time,
    pub labels: Labels,
}

impl Info {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        pb::add_text(&mut out, 1, &self.digest);
        pb::add_number(&mut out, 2, self.size);
        pb::put_bytes(&mut out, 3, &self.created.encode());
        pb::put_bytes(&mut out, 4, &self.updated.encode());
        records::put_labels(&mut out, 5, &self.labels);
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Info, Malformed> {
        let mut info = Info::default();
        for field in pb::fields(bytes) {
            match field? {
                Field { number: 1, value: Value::Bytes(bytes) } => info.digest = pb::text(bytes).ok_or(Malformed)?,
                Field { number: 2, value: Value::Number(size) } => info.size = size,
                Field { number: 3, value: Value::Bytes(bytes) } => info.created = Time::decode(bytes)?,
                Field { number: 4, value: Value::Bytes(bytes) } => info.updated = Time::decode(bytes)?,
                Field { number: 5, value: Value::Bytes(bytes) } => records::take_label(&mut info.labels, bytes)?,
                _ => {} // of a newer version
            }
        }
        Ok(info)
    }

    /// A field by the name that filters have for it.
    pub fn field(&self, name: &str, rest: &str) -> Option<String> {
        match name {
            "digest" => Some(self.digest.clone()),
            "labels" => self.labels.get(rest).cloned(),
            _ => None,
        }
    }
}

/// How far an ingest is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub started: Time,
    pub updated: Time,
    pub name: String,
    pub offset: u64,
    pub total: u64,
}

impl Progress {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        pb::put_bytes(&mut out, 1, &self.started.encode());
        pb::put_bytes(&mut out, 2, &self.updated.encode());
        pb::add_text(&mut out, 3, &self.name);
        pb::add_number(&mut out, 4, self.offset);
        pb::add_number(&mut out, 5, self.total);
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Progress, Malformed> {
        let mut progress = Progress::default();
        for field in pb::fields(bytes) {
            match field? {
                Field { number: 1, value: Value::Bytes(bytes) } => progress.started = Time::decode(bytes)?,
                Field { number: 2, value: Value::Bytes(bytes) } => progress.updated = Time::decode(bytes)?,
                Field { number: 3, value: Value::Bytes(bytes) } => {
                    progress.name = pb::text(bytes).ok_or(Malformed)?
                }
                Field { number: 4, value: Value::Number(offset) } => progress.offset = offset,
                Field { number: 5, value: Value::Number(total) } => progress.total = total,
                _ => {} // of a newer version
            }
        }
        Ok(progress)
    }

    /// A field by the name that filters have for it.
    pub fn field(&self, name: &str) -> Option<String> {
        match name {
            "ref" => Some(self.name.clone()),
            _ => None,
        }
    }
}
