//! containerd.services.snapshots.v1.Info: what is known of a snapshot, in answers as on disk.
use crate::pb::{self, Field, Malformed, Value};
use crate::records::{self, Labels, Time};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    View = 1,
    Active = 2,
    Committed = 3,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    pub name: String,
    pub parent: String,
    pub kind: Kind,
    pub created: Time,
    pub updated: Time,
    pub labels: Labels,
}

impl Info {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        pb::add_text(&mut out, 1, &self.name);
        pb::add_text(&mut out, 2, &self.parent);
        pb::add_number(&mut out, 3, self.kind as u64);
        pb::put_bytes(&mut out, 4, &self.created.encode());
        pb::put_bytes(&mut out, 5, &self.updated.encode());
        records::put_labels(&mut out, 6, &self.labels);
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Info, Malformed> {
        let now = Time::now();
        let mut info = Info {
            name: String::new(),
            parent: String::new(),
            kind: Kind::Active,
            created: now,
            updated: now,
            labels: Labels::new(),
        };
        for field in pb::fields(bytes) {
            match field? {
                Field { number: 1, value: Value::Bytes(bytes) } => info.name = pb::text(bytes).ok_or(Malformed)?,
                Field { number: 2, value: Value::Bytes(bytes) } => info.parent = pb::text(bytes).ok_or(Malformed)?,
                Field { number: 3, value: Value::Number(1) } => info.kind = Kind::View,
                Field { number: 3, value: Value::Number(3) } => info.kind = Kind::Committed,
                Field { number: 4, value: Value::Bytes(bytes) } => info.created = Time::decode(bytes)?,
                Field { number: 5, value: Value::Bytes(bytes) } => info.updated = Time::decode(bytes)?,
                Field { number: 6, value: Value::Bytes(bytes) } => records::take_label(&mut info.labels, bytes)?,
                _ => {} // of a newer version
            }
        }
        Ok(info)
    }

    /// A field by the name that filters have for it.
    pub fn field(&self, name: &str, rest: &str) -> Option<String> {
        match name {
            "name" => Some(self.name.clone()),
            "parent" => Some(self.parent.clone()),
            "kind" => Some(format!("{:?}", self.kind).to_lowercase()),
            "labels" => self.labels.get(rest).cloned(),
            _ => None,
        }
    }
}
