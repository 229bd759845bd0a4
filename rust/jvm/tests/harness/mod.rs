//! A process host with a real Python, without a JVM: functions are pickled by the project's own Python, and batches are
//! laid out here.
#![allow(
    clippy::unwrap_used,
    dead_code,
    unreachable_pub,
    reason = "tests fail by panicking, and each file uses what it needs"
)]

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use rudf_jvm::{
    error::NativeError,
    host::{ResultBatch, WorkerHost, WorkerSession},
    process::{ProcessConfig, ProcessHost},
};
use rudf_segment::{
    PROTOCOL_VERSION,
    layout::{BATCH_MAGIC, DESCRIPTOR_WORDS, HEADER_WORDS},
};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_path_buf()
}

/// The project's Python.
pub fn python() -> String {
    root().join(".venv/bin/python").display().to_string()
}

pub fn config() -> ProcessConfig {
    ProcessConfig {
        python: python(),
        package_directory: root().join("python").display().to_string(),
        environment: BTreeMap::from([
            ("OMP_NUM_THREADS".to_owned(), "1".to_owned()),
            ("PYTHONHASHSEED".to_owned(), "0".to_owned()),
        ]),
        directory: None,
        most_idle: 8,
        idle_seconds: 60,
    }
}

/// A host, as an executor would start it.
pub fn host() -> ProcessHost {
    ProcessHost::start(config()).unwrap()
}

/// What a test says of its function.
pub struct Udf {
    pub definition: &'static str,
    /// 101: rows; 250: pyarrow arrays.
    pub eval_type: i32,
    pub timeout: f64,
    /// More of the session's document, and of the function's, in JSON.
    pub more: (&'static str, &'static str),
}

/// A row function `f` of one long that returns a long.
pub const fn rows(definition: &'static str) -> Udf {
    Udf { definition, eval_type: 101, timeout: 0.0, more: ("{}", "{}") }
}

/// A function `f` of an array of longs.
pub const fn arrays(definition: &'static str) -> Udf {
    Udf { definition, eval_type: 250, timeout: 0.0, more: ("{}", "{}") }
}

impl Udf {
    /// The session message.
    pub fn message(&self) -> Vec<u8> {
        let script = format!(
            "import json, sys\n\
             from rudf import _native\n\
             from rudf.pickle import dumps\n\
             from pyspark.sql.types import LongType\n\
             __name__ = '__main__'\n\
             {}\n\
             blob = dumps((f, LongType()))\n\
             document = dict(protocol={}, eval_type={}, inputs=['long'], settings={{}}, timeout_seconds={},\n\
             \x20   python_version='%d.%d' % sys.version_info[:2],\n\
             \x20   functions=[dict(name='f', result_type='long', chain=[dict(offset=0, length=len(blob))],\n\
             \x20       arguments=[dict(column=0)])])\n\
             document.update(json.loads({:?}))\n\
             document['functions'][0].update(json.loads({:?}))\n\
             sys.stdout.buffer.write(_native.session_message(json.dumps(document), blob))\n",
            self.definition, PROTOCOL_VERSION, self.eval_type, self.timeout, self.more.0, self.more.1
        );
        let output = Command::new(python()).args(["-c", &script]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    pub fn open(&self, host: &ProcessHost) -> Box<dyn WorkerSession> {
        open(host, self.message()).unwrap()
    }
}

/// Opens a session and waits until its functions are unpickled.
pub fn open(host: &ProcessHost, message: Vec<u8>) -> Result<Box<dyn WorkerSession>, NativeError> {
    let session = host.open(message)?;
    while !session.opened(Duration::from_millis(100))? {}
    Ok(session)
}

/// Lays values out and hands them over.
pub fn submit(session: &dyn WorkerSession, values: &[i64]) {
    let header = (HEADER_WORDS + DESCRIPTOR_WORDS) * 8;
    let position = header.next_multiple_of(64);
    let mut words = vec![BATCH_MAGIC, values.len() as u64, 1, 0];
    words.extend([0, 0, 0, 0, 0, 0, 0, position as u64, 8 * values.len() as u64, 0, 0, values.len() as u64]);
    let length = position + 8 * values.len();
    let segment = session.acquire(length).unwrap();
    for (index, word) in words.iter().enumerate() {
        // SAFETY: within the segment, which nobody else refers to yet.
        unsafe { segment.base().add(8 * index).cast::<u64>().write(*word) };
    }
    for (index, value) in values.iter().enumerate() {
        // SAFETY: as above.
        unsafe { segment.base().add(position + 8 * index).cast::<i64>().write(*value) };
    }
    session.submit(segment, length).unwrap();
}

/// The values of the oldest batch, or why there are none.
pub fn take(session: &dyn WorkerSession) -> Result<Vec<i64>, NativeError> {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if let Some(result) = session.take(Duration::from_millis(100))? {
            return Ok(longs(&*result));
        }
    }
    panic!("no result within {} s", PATIENCE.as_secs());
}

fn longs(result: &dyn ResultBatch) -> Vec<i64> {
    let column = result.columns()[0];
    (0..result.rows())
        // SAFETY: the host has checked that the column has this many values.
        .map(|row| unsafe { (column.values as *const i64).add((column.first_row + row) as usize).read() })
        .collect()
}

/// One batch there and back.
pub fn evaluate(session: &dyn WorkerSession, values: &[i64]) -> Result<Vec<i64>, NativeError> {
    submit(session, values);
    take(session)
}

/// The text of the failure of one batch.
pub fn failure(session: &dyn WorkerSession) -> String {
    match evaluate(session, &[1, 2, 3]) {
        Ok(values) => panic!("it did not fail: {values:?}"),
        Err(error) => error.to_string(),
    }
}

/// Whether a process is there and no zombie.
pub fn is_running(process: i64) -> bool {
    std::fs::read_to_string(format!("/proc/{process}/stat"))
        .is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z')))
}

/// Waits until something is so.
pub fn until(what: &str, mut so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < end, "not within {} s: {what}", PATIENCE.as_secs());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Sends a signal to a process.
pub fn signal(process: i64, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &process.to_string()]).status().unwrap();
    assert!(sent.success());
}

pub const PROCESS: Udf =
    Udf { definition: "import os\nf = lambda v: os.getpid()", eval_type: 101, timeout: 0.0, more: ("{}", "{}") };
pub const SERVER: Udf =
    Udf { definition: "import os\nf = lambda v: os.getppid()", eval_type: 101, timeout: 0.0, more: ("{}", "{}") };

/// A number that a function of one value gives.
pub fn ask(host: &ProcessHost, udf: &Udf) -> i64 {
    evaluate(&*udf.open(host), &[0]).unwrap()[0]
}
