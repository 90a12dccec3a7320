//! The messages of the task service, as far as it is served: containerd/runtime/task/v2/shim.proto.
use crate::pb::{self, Field, Value};
use crate::spec::Mount;
use crate::system::{fail, Failure, INVALID_ARGUMENT};

/// The fields of any message, by number. What is absent is empty or 0; of what occurs twice the last counts.
pub struct Message<'a> {
    fields: Vec<Field<'a>>,
    name: &'static str,
}

impl<'a> Message<'a> {
    pub fn parse(bytes: &'a [u8], name: &'static str) -> Result<Message<'a>, Failure> {
        match pb::fields(bytes).collect() {
            Ok(fields) => Ok(Message { fields, name }),
            Err(pb::Malformed) => fail(INVALID_ARGUMENT, format!("the request is no {name}")),
        }
    }

    pub fn all(&self, number: u64) -> impl DoubleEndedIterator<Item = &'a [u8]> + '_ {
        self.fields.iter().filter_map(move |field| match field.value {
            Value::Bytes(bytes) if field.number == number => Some(bytes),
            _ => None,
        })
    }

    pub fn bytes(&self, number: u64) -> &'a [u8] {
        self.all(number).next_back().unwrap_or_default()
    }

    pub fn text(&self, number: u64) -> Result<String, Failure> {
        self.to_text(self.bytes(number))
    }

    pub fn texts(&self, number: u64) -> Result<Vec<String>, Failure> {
        self.all(number).map(|bytes| self.to_text(bytes)).collect()
    }

    pub fn number(&self, number: u64) -> u64 {
        let found = self.fields.iter().rev().find_map(|field| match field.value {
            Value::Number(value) if field.number == number => Some(value),
            _ => None,
        });
        found.unwrap_or(0)
    }

    fn to_text(&self, bytes: &[u8]) -> Result<String, Failure> {
        pb::text(bytes).map_or_else(|| fail(INVALID_ARGUMENT, format!("text in {} is not UTF-8", self.name)), Ok)
    }
}

/// A message that begins with a number.
pub fn number_field(number: u64, value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    pb::add_number(&mut out, number, value);
    out
}

/// What most requests have: the container and one of its processes, the first of which has no name.
pub struct Target {
    pub id: String,
    pub exec: String,
}

impl Target {
    pub fn of(request: &Message) -> Result<Target, Failure> {
        Ok(Target { id: request.text(1)?, exec: request.text(2)? })
    }
}

pub struct Streams {
    pub stdin: String,
    pub stdout: String,
    pub stderr: String,
}

impl Streams {
    /// Three fields that follow one another.
    fn of(request: &Message, first: u64) -> Result<Streams, Failure> {
        Ok(Streams { stdin: request.text(first)?, stdout: request.text(first + 1)?, stderr: request.text(first + 2)? })
    }
}

pub struct Create {
    pub id: String,
    pub bundle: String,
    pub rootfs: Vec<Mount>,
    pub terminal: bool,
    pub streams: Streams,
}

impl Create {
    pub fn of(request: &Message) -> Result<Create, Failure> {
        let mut rootfs = Vec::new();
        for bytes in request.all(3) {
            let mount = Message::parse(bytes, "containerd.types.Mount")?;
            rootfs.push(Mount::new(&mount.text(1)?, &mount.text(2)?, "", &mount.texts(4)?));
        }
        Ok(Create { id: request.text(1)?, bundle: request.text(2)?, rootfs, terminal: request.number(4) != 0, streams: Streams::of(request, 5)? })
    }
}

pub struct Exec {
    pub target: Target,
    pub streams: Streams,
    pub spec: Vec<u8>, // JSON
}

impl Exec {
    pub fn of(request: &Message) -> Result<Exec, Failure> {
        let any = Message::parse(request.bytes(7), "google.protobuf.Any")?;
        Ok(Exec { target: Target::of(request)?, streams: Streams::of(request, 4)?, spec: any.bytes(2).to_vec() })
    }
}
