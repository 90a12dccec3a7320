//! The task service of one container: what a daemon asks over ttrpc. Versions 2 and 3 of it have the same messages.
use crate::messages::{number_field, Create, Exec, Message, Streams, Target};
use crate::pb;
use crate::process::Process;
use crate::spec::Spec;
use crate::system::{self, fail, failed, Failure};
use crate::ttrpc::{now, tell, timestamp, Caller, Request};
use std::collections::HashMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::Child;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

#[derive(Default)]
struct Task {
    spec: Spec,
    process: Option<Process>, // none: an exec that was not started
    started: bool,
    paused: bool,
    ended: bool,
    code: u32,
    ended_at: Duration,
    waiting: Vec<Caller>,
}

#[derive(Default)]
struct State {
    bundle: String,
    tasks: HashMap<String, Task>, // the container's first process is the one without a name
}

pub struct Service {
    ns: String,
    id: String,
    stop: Box<dyn Fn() + Send + Sync>,
    state: Mutex<State>, // held while events are told, so that they come in order
    changed: Condvar,
}

/// None: later.
type Answer = Result<Option<Vec<u8>>, Failure>;
const NOTHING: Answer = Ok(Some(Vec::new())); // google.protobuf.Empty

// containerd.v1.types.Status
const CREATED: u64 = 1;
const RUNNING: u64 = 2;
const STOPPED: u64 = 3;
const PAUSED: u64 = 4;

impl Task {
    fn new(spec: Spec, streams: Streams) -> Task {
        let spec = Spec { stdin: streams.stdin, stdout: streams.stdout, stderr: streams.stderr, ..spec };
        Task { spec, ..Task::default() }
    }

    fn pid(&self) -> u32 {
        self.process.as_ref().map_or(0, Process::pid)
    }

    fn status(&self) -> u64 {
        match self {
            Task { ended: true, .. } => STOPPED,
            Task { paused: true, .. } => PAUSED,
            Task { started: true, .. } => RUNNING,
            _ => CREATED,
        }
    }

    /// exit_status and exited_at as these fields.
    fn put_end(&self, out: &mut Vec<u8>, first: u64) {
        pb::add_number(out, first, u64::from(self.code));
        pb::put_bytes(out, first + 1, &timestamp(self.ended_at));
    }

    fn wait_response(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.put_end(&mut out, 1);
        out
    }
}

fn need<'a>(state: &'a mut State, service: &Service, target: &Target) -> Result<&'a mut Task, Failure> {
    match state.tasks.get_mut(&target.exec) {
        Some(task) if target.id == service.id => Ok(task),
        _ => fail(system::NOT_FOUND, format!("process {} {}: not found", target.id, target.exec)),
    }
}

impl Service {
    /// `stop` is called after the answer to a Shutdown, when nothing is left.
    pub fn new(ns: String, id: String, stop: impl Fn() + Send + Sync + 'static) -> Arc<Service> {
        Arc::new(Service { ns, id, stop: Box::new(stop), state: Mutex::default(), changed: Condvar::new() })
    }

    /// Answers at once, or, for Wait, when the process has ended.
    pub fn handle(self: &Arc<Self>, request: &Request, caller: Caller) {
        let mut over = false;
        match self.call(request, &caller, &mut over) {
            Ok(None) => {}
            Ok(Some(response)) => caller.answer(Ok(response)),
            Err(why) => caller.answer(Err(why)),
        }
        if over {
            (self.stop)();
        }
    }

    fn call(self: &Arc<Self>, request: &Request, caller: &Caller, over: &mut bool) -> Answer {
        if request.service != "containerd.task.v2.Task" && request.service != "containerd.task.v3.Task" {
            return fail(system::UNIMPLEMENTED, format!("service {} is not served: not implemented", request.service));
        }
        let message = Message::parse(&request.payload, "request of the task service")?;
        match request.method.as_str() {
            "Create" => self.create(Create::of(&message)?),
            "Start" => self.start(&Target::of(&message)?),
            "Delete" => self.delete(&Target::of(&message)?),
            "Exec" => self.exec(Exec::of(&message)?),
            "State" => self.tell_state(&Target::of(&message)?),
            "Kill" => self.kill(&Target::of(&message)?, message.number(3) as i32, message.number(4) != 0),
            "Pause" => self.pause(message.text(1)?, true),
            "Resume" => self.pause(message.text(1)?, false),
            "Wait" => self.wait(&Target::of(&message)?, caller),
            "CloseIO" => self.close_io(&Target::of(&message)?, message.number(3) != 0),
            "Connect" => {
                let mut out = number_field(1, u64::from(std::process::id()));
                pb::add_number(&mut out, 2, self.first_pid());
                Ok(Some(out))
            }
            "Pids" => {
                let mut out = Vec::new();
                let pid = self.first_pid();
                if pid != 0 {
                    pb::put_bytes(&mut out, 1, &number_field(1, pid));
                }
                Ok(Some(out))
            }
            "Shutdown" => {
                *over = self.lock().tasks.is_empty(); // else: not yet
                NOTHING
            }
            other => fail(system::UNIMPLEMENTED, format!("method {other} is not served: not implemented")),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn first_pid(&self) -> u64 {
        self.lock().tasks.get("").map_or(0, |task| u64::from(task.pid()))
    }

    /// An event begins with the container.
    fn tell(&self, topic: &str, kind: &str, fill: impl FnOnce(&mut Vec<u8>)) {
        let mut event = pb::put_text(1, &self.id);
        fill(&mut event);
        tell(&self.ns, topic, &format!("containerd.events.{kind}"), &event);
    }

    fn make(self: &Arc<Self>, exec: &str, spec: &Spec) -> Result<Process, Failure> {
        let (service, exec) = (self.clone(), exec.to_string());
        Process::make(spec, move |child| service.ended(&exec, child))
    }

    /// On the thread of the process.
    fn ended(&self, exec: &str, child: Option<Child>) {
        let mut state = self.lock();
        let task = match state.tasks.get_mut(exec) {
            Some(task) => task,
            None => return,
        };
        if exec.is_empty() {
            let _ = system::kill(-(task.pid() as i32), system::SIGKILL); // what it leaves behind
        }
        task.code = match child.map(|mut child| child.wait()) {
            Some(Ok(status)) => status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(255) as u32,
            Some(Err(_)) => 255,
            None => 127,
        };
        task.ended = true;
        task.ended_at = now();
        self.changed.notify_all();
        let id = if exec.is_empty() { &self.id } else { exec };
        self.tell("/tasks/exit", "TaskExit", |event| {
            pb::add_text(event, 2, id);
            pb::add_number(event, 3, u64::from(task.pid()));
            task.put_end(event, 4);
        });
        for caller in std::mem::take(&mut task.waiting) {
            caller.answer(Ok(task.wait_response()));
        }
    }

    fn create(self: &Arc<Self>, request: Create) -> Answer {
        let mut state = self.lock();
        if request.terminal {
            return fail(system::UNIMPLEMENTED, "this runtime has no terminals");
        }
        if request.id != self.id {
            return fail(system::INVALID_ARGUMENT, format!("this shim is for container {}", self.id));
        }
        if state.tasks.contains_key("") {
            return fail(system::ALREADY_EXISTS, format!("container {}: already exists", self.id));
        }
        let mut task = Task::new(Spec::of_bundle(&request.bundle)?, request.streams);
        // The root file system first, then what is mounted into it.
        task.spec.mounts.splice(0..0, request.rootfs);
        let process = self.make("", &task.spec)?;
        let pid = process.pid();
        task.process = Some(process);
        state.bundle = request.bundle;
        state.tasks.insert(String::new(), task);
        // For "delete", should this shim be killed.
        let _ = fs::write("init.pid", pid.to_string());
        self.tell("/tasks/create", "TaskCreate", |event| {
            pb::add_text(event, 2, &state.bundle);
            pb::add_number(event, 6, u64::from(pid));
        });
        Ok(Some(number_field(1, u64::from(pid))))
    }

    fn start(self: &Arc<Self>, target: &Target) -> Answer {
        let mut state = self.lock();
        let task = need(&mut state, self, target)?;
        if task.started || task.ended {
            return fail(system::FAILED_PRECONDITION, format!("process {} was started", target.exec));
        }
        let mut process = match task.process.take() {
            Some(process) => process,
            None => self.make(&target.exec, &task.spec)?,
        };
        let started = process.start();
        let pid = process.pid();
        task.process = Some(process);
        if let Err(why) = started {
            // Whoever hears of it may delete it.
            let ended = |state: &mut State| state.tasks.get(&target.exec).map_or(true, |task| task.ended);
            drop(self.changed.wait_while(state, |state| !ended(state)));
            return Err(why);
        }
        task.started = true;
        if target.exec.is_empty() {
            self.tell("/tasks/start", "TaskStart", |event| pb::add_number(event, 2, u64::from(pid)));
        } else {
            self.tell("/tasks/exec-started", "TaskExecStarted", |event| {
                pb::add_text(event, 2, &target.exec);
                pb::add_number(event, 3, u64::from(pid));
            });
        }
        Ok(Some(number_field(1, u64::from(pid))))
    }

    fn delete(&self, target: &Target) -> Answer {
        let mut state = self.lock();
        let task = need(&mut state, self, target)?;
        if task.process.is_some() && !task.ended {
            return fail(system::FAILED_PRECONDITION, format!("cannot delete a running process {}", target.exec));
        }
        let mut response = number_field(1, u64::from(task.pid()));
        task.put_end(&mut response, 2);
        if target.exec.is_empty() {
            self.tell("/tasks/delete", "TaskDelete", |event| {
                pb::add_number(event, 2, u64::from(task.pid()));
                task.put_end(event, 3);
            });
        }
        state.tasks.remove(&target.exec);
        Ok(Some(response))
    }

    fn exec(&self, request: Exec) -> Answer {
        let mut state = self.lock();
        let name = request.target.exec.clone();
        let there = state.tasks.contains_key(&name);
        let first = need(&mut state, self, &Target { id: request.target.id, exec: String::new() })?;
        if name.is_empty() {
            return fail(system::INVALID_ARGUMENT, "an exec needs an id");
        }
        if there {
            return fail(system::ALREADY_EXISTS, format!("exec {name}: already exists"));
        }
        if first.ended || !first.started {
            return fail(system::FAILED_PRECONDITION, format!("container {} does not run", self.id));
        }
        let mut task = Task::new(Spec::of_process(&request.spec)?, request.streams);
        task.spec.root = format!("/proc/{}/root", first.pid());
        state.tasks.insert(name.clone(), task);
        self.tell("/tasks/exec-added", "TaskExecAdded", |event| pb::add_text(event, 2, &name));
        NOTHING
    }

    fn tell_state(&self, target: &Target) -> Answer {
        let mut state = self.lock();
        let bundle = state.bundle.clone();
        let task = need(&mut state, self, target)?;
        let mut out = pb::put_text(1, &self.id);
        pb::add_text(&mut out, 2, &bundle);
        pb::add_number(&mut out, 3, u64::from(task.pid()));
        pb::add_number(&mut out, 4, task.status());
        pb::add_text(&mut out, 5, &task.spec.stdin);
        pb::add_text(&mut out, 6, &task.spec.stdout);
        pb::add_text(&mut out, 7, &task.spec.stderr);
        task.put_end(&mut out, 9);
        pb::add_text(&mut out, 11, &target.exec);
        Ok(Some(out))
    }

    fn kill(&self, target: &Target, signal: i32, all: bool) -> Answer {
        let mut state = self.lock();
        let task = need(&mut state, self, target)?;
        if task.process.is_none() || task.ended {
            return fail(system::NOT_FOUND, format!("process {} has ended: not found", target.exec));
        }
        let pid = task.pid() as i32;
        // Each process leads a group; SIGKILL and "all" are for all of it.
        let whom = if all || signal == system::SIGKILL { -pid } else { pid };
        system::kill(whom, signal).map_err(|error| failed("kill", &error))?;
        NOTHING
    }

    fn pause(&self, id: String, paused: bool) -> Answer {
        let mut state = self.lock();
        let task = need(&mut state, self, &Target { id, exec: String::new() })?;
        if task.ended || !task.started || task.paused == paused {
            return fail(system::FAILED_PRECONDITION, format!("container {} is not in the state for it", self.id));
        }
        let signal = if paused { system::SIGSTOP } else { system::SIGCONT };
        system::kill(-(task.pid() as i32), signal).map_err(|error| failed("pause or resume", &error))?;
        task.paused = paused;
        let (topic, kind) = if paused { ("/tasks/paused", "TaskPaused") } else { ("/tasks/resumed", "TaskResumed") };
        self.tell(topic, kind, |_| {});
        NOTHING
    }

    fn wait(&self, target: &Target, caller: &Caller) -> Answer {
        let mut state = self.lock();
        let task = need(&mut state, self, target)?;
        if task.ended {
            return Ok(Some(task.wait_response()));
        }
        task.waiting.push(caller.clone());
        Ok(None)
    }

    fn close_io(&self, target: &Target, stdin: bool) -> Answer {
        let mut state = self.lock();
        let task = need(&mut state, self, target)?;
        if let (true, Some(process)) = (stdin, &mut task.process) {
            process.close_input();
        }
        NOTHING
    }
}
