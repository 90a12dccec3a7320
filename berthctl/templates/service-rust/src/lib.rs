//! The service of proto/@ident@/v1/@ident@.proto. The boundary to the daemon is in berth.rs.

mod berth;
mod pb;

use berth::{Call, Code, Host, Status};

pub struct @Class@ {
    greeting: String,
}

impl @Class@ {
    pub fn new(greeting: &str) -> Self {
        @Class@ { greeting: greeting.to_string() }
    }

    pub fn greet(&self, name: &str, namespace: &str) -> Result<String, Status> {
        if name.is_empty() {
            // An error says what was attempted, why not, and what to do.
            return Err(Status::new(Code::InvalidArgument, "greet: name is empty: say whom"));
        }
        Ok(match namespace {
            "" => format!("{}, {}", self.greeting, name),
            of => format!("{}, {} of {}", self.greeting, name, of),
        })
    }
}

impl berth::Plugin for @Class@ {
    const TYPE: &'static str = "io.containerd.grpc.v1";
    const ID: &'static str = "@name@";
    const SERVICE: &'static str = "example.@ident@.v1.@Class@";
    const METHODS: &'static [berth::Method] = &[berth::method("Greet")];
    const DESCRIPTORS: &'static [u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

    /// Runs once, before any call. What it returns as an error is what the administrator reads.
    fn create(host: &Host) -> Result<Self, Status> {
        Ok(@Class@::new(&host.config("greeting")))
    }

    /// Any thread, several at once. What panics is answered as INTERNAL.
    fn call(&self, _method: u32, call: &Call) -> Result<Vec<u8>, Status> {
        let mut name = String::new();
        for field in pb::fields(call.request()) {
            match field {
                Ok(pb::Field { number: 1, value: pb::Value::Bytes(bytes) }) => {
                    name = pb::text(bytes).ok_or_else(malformed)?
                }
                Ok(_) => {} // of a newer client
                Err(pb::Malformed) => return Err(malformed()),
            }
        }
        let text = self.greet(&name, call.header("containerd-namespace"))?;
        Ok(pb::put_text(1, &text))
    }
}

fn malformed() -> Status {
    Status::new(Code::InvalidArgument, "greet: the request is not a well-formed GreetRequest")
}

berth::export!(@Class@);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_not_greeted() {
        let refused = @Class@::new("good day").greet("", "").unwrap_err();
        assert_eq!(refused.code, Code::InvalidArgument);
    }

    #[test]
    fn greets_with_what_was_configured_and_the_namespace() {
        let service = @Class@::new("good day");
        assert_eq!(service.greet("world", "").unwrap(), "good day, world");
        assert_eq!(service.greet("world", "k8s.io").unwrap(), "good day, world of k8s.io");
    }

    #[test]
    fn messages_are_read_safely() {
        let message = pb::put_text(1, "world");
        assert_eq!(pb::fields(&message).count(), 1);
        for size in 1..message.len() {
            assert!(pb::fields(&message[..size]).any(|field| field.is_err()), "{} bytes", size);
        }
    }
}
