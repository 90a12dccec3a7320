//! The protocol of shims: frames of a head and a message, a call's answer with the number of the call.
use crate::messages::{number_field, Message};
use crate::pb;
use crate::service::Service;
use crate::system::{failed, Failure};
use std::env;
use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const HEAD: usize = 10; // size, number of the call, kind, flags
const LARGEST: usize = 4 << 20; // of a message
const REQUEST: u8 = 1;
const RESPONSE: u8 = 2;
const LONGEST_SEND: Duration = Duration::from_secs(5); // for a client that does not read
const LONGEST_EVENT: Duration = Duration::from_secs(2);

pub struct Request {
    pub service: String,
    pub method: String,
    pub payload: Vec<u8>,
}

/// Whom to answer.
#[derive(Clone)]
pub struct Caller {
    stream: Arc<Mutex<UnixStream>>,
    number: u32,
}

fn send(mut stream: &UnixStream, number: u32, kind: u8, message: &[u8]) -> io::Result<()> {
    let mut frame = Vec::with_capacity(HEAD + message.len());
    frame.extend_from_slice(&(message.len() as u32).to_be_bytes());
    frame.extend_from_slice(&number.to_be_bytes());
    frame.extend_from_slice(&[kind, 0]);
    frame.extend_from_slice(message);
    stream.write_all(&frame)
}

/// Number of the call, kind, message.
fn receive(mut stream: &UnixStream) -> io::Result<(u32, u8, Vec<u8>)> {
    let mut head = [0; HEAD];
    stream.read_exact(&mut head)?;
    let size = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
    if size > LARGEST {
        return Err(io::Error::from(io::ErrorKind::InvalidData));
    }
    let mut message = vec![0; size];
    stream.read_exact(&mut message)?;
    Ok((u32::from_be_bytes([head[4], head[5], head[6], head[7]]), head[8], message))
}

impl Caller {
    pub fn answer(&self, answer: Result<Vec<u8>, Failure>) {
        let mut response = Vec::new();
        match answer {
            Ok(payload) => pb::put_bytes(&mut response, 2, &payload),
            Err(why) => {
                let mut status = number_field(1, why.code as u64);
                pb::add_text(&mut status, 2, &why.text);
                pb::put_bytes(&mut response, 1, &status);
            }
        }
        let stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        if send(&stream, self.number, RESPONSE, &response).is_err() {
            let _ = stream.shutdown(std::net::Shutdown::Both); // who reads from it finds its end
        }
    }
}

fn parse(message: &[u8]) -> Result<Request, Failure> {
    let message = Message::parse(message, "ttrpc.Request")?;
    Ok(Request { service: message.text(1)?, method: message.text(2)?, payload: message.bytes(3).to_vec() })
}

/// One client, until it is gone.
fn attend(service: &Arc<Service>, stream: UnixStream) -> io::Result<()> {
    stream.set_write_timeout(Some(LONGEST_SEND))?;
    let writing = Arc::new(Mutex::new(stream.try_clone()?));
    loop {
        let (number, kind, message) = receive(&stream)?;
        // Clients have odd numbers. Frames of streams, which no method has, are passed over.
        if kind != REQUEST || number % 2 == 0 {
            continue;
        }
        let caller = Caller { stream: writing.clone(), number };
        match parse(&message) {
            Ok(request) => service.handle(&request, caller),
            Err(why) => caller.answer(Err(why)),
        }
    }
}

/// Returns when nothing can be accepted any more.
pub fn serve(listener: &UnixListener, service: &Arc<Service>) -> io::Error {
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                let service = service.clone();
                thread::spawn(move || attend(&service, stream));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return error,
        }
    }
}

/// Tells the daemon and waits until it has taken it, two seconds at most; what cannot be told is lost. A shim that must not lose any
/// keeps them and tries again.
pub fn tell(ns: &str, topic: &str, kind: &str, event: &[u8]) {
    let path = match env::var("TTRPC_ADDRESS") {
        Ok(path) => path,
        Err(_) => return,
    };
    let mut any = pb::put_text(1, kind);
    pb::put_bytes(&mut any, 2, event);
    let mut envelope = Vec::new();
    pb::put_bytes(&mut envelope, 1, &timestamp(now()));
    pb::add_text(&mut envelope, 2, ns);
    pb::add_text(&mut envelope, 3, topic);
    pb::put_bytes(&mut envelope, 4, &any);
    let mut forward = Vec::new();
    pb::put_bytes(&mut forward, 1, &envelope);
    let mut request = pb::put_text(1, "containerd.services.events.ttrpc.v1.Events");
    pb::add_text(&mut request, 2, "Forward");
    pb::put_bytes(&mut request, 3, &forward);
    pb::add_number(&mut request, 4, LONGEST_EVENT.as_nanos() as u64);
    if let Err(error) = call(path.strip_prefix("unix://").unwrap_or(&path), &request) {
        eprintln!("event {topic} is lost: {}", failed(&path, &error).text);
    }
}

fn call(path: &str, request: &[u8]) -> io::Result<()> {
    let stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(LONGEST_EVENT))?;
    stream.set_write_timeout(Some(LONGEST_EVENT))?;
    send(&stream, 1, REQUEST, request)?;
    receive(&stream).map(|_| ())
}

/// Since 1970.
pub fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// google.protobuf.Timestamp.
pub fn timestamp(time: Duration) -> Vec<u8> {
    let mut out = number_field(1, time.as_secs());
    pb::add_number(&mut out, 2, u64::from(time.subsec_nanos()));
    out
}
