//! Faults of worker processes, each caused on purpose: they are told in words, do no harm to others, and leave nothing.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use harness::{
    PROCESS, SERVER, Udf, arrays, ask, evaluate, failure, host, is_running, rows, signal, submit, take, until,
};
use rudf_jvm::{error::NativeError, host::WorkerHost, process::ProcessHost};

/// Runs a batch that fails; the next session has to work.
fn fails(host: &ProcessHost, definition: &'static str, expected: &[&str]) {
    let session = rows(definition).open(host);
    assert_eq!(evaluate(&*session, &[]).unwrap(), [0; 0]);
    let text = failure(&*session);
    for part in expected {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
    drop(session);
    assert_eq!(evaluate(&*rows("f = lambda v: v + 1").open(host), &[1]).unwrap(), [2]);
}

#[test]
fn crashes_are_told_with_signal_or_exit_code_function_batch_and_stack() {
    let host = host();
    let whose = ["`f`", "in batch 1 of the partition"];
    let told = |more: &[&'static str]| [&whose[..], more].concat();
    fails(
        &host,
        "def f(v):\n    import ctypes\n    ctypes.string_at(0)",
        &told(&["signal 11 (SIGSEGV)", "Python was here", "in f"]),
    );
    fails(&host, "def f(v):\n    import os\n    os._exit(3)", &told(&["ended with exit code 3"]));
    fails(&host, "def f(v):\n    import os\n    os.abort()", &told(&["signal 6 (SIGABRT)", "in f"]));
    fails(
        &host,
        "def f(v):\n    import os\n    os.kill(os.getpid(), 9)",
        &told(&["signal 9 (SIGKILL", "out of memory"]),
    );
    fails(
        &host,
        "import sys\ndef f(v):\n    import ctypes, sys\n    sys.setrecursionlimit(1 << 30)\n\
         \x20   compare = ctypes.CFUNCTYPE(ctypes.c_int)\n    down = lambda: down_(); down_ = compare(down)\n    return down_()",
        &told(&["signal 11 (SIGSEGV)"]),
    );
    fails(
        &host,
        "def f(v):\n    import os\n    os.closerange(3, 4096)\n    return v",
        &["its connection failed", "close descriptors"],
    );
}

#[test]
fn leaving_by_an_exception_is_no_crash() {
    let host = host();
    let process = ask(&host, &PROCESS);
    fails(&host, "def f(v):\n    import sys\n    sys.exit(3)", &["SystemExit: 3", "row 0", "batch 1"]);
    fails(&host, "def f(v):\n    raise KeyboardInterrupt", &["KeyboardInterrupt"]);
    fails(&host, "def f(v):\n    return 1 // (v - 2)", &["ZeroDivisionError", "row 1"]);
    assert_eq!(ask(&host, &PROCESS), process);
}

#[test]
fn a_long_error_comes_whole() {
    let host = host();
    let session = rows("def f(v):\n    raise ValueError('x' * 100_000 + 'end')").open(&host);
    let text = failure(&*session);
    assert!(text.len() > 100_000 && text.contains("xend"), "{} bytes", text.len());
}

#[test]
fn a_worker_that_is_killed_in_mid_batch_is_noticed_at_once() {
    let host = host();
    let process = ask(&host, &PROCESS);
    let session = rows("def f(v):\n    import time\n    time.sleep(60)").open(&host);
    submit(&*session, &[1]);
    thread::sleep(Duration::from_millis(200));
    let start = Instant::now();
    signal(process, "KILL");
    let text = take(&*session).unwrap_err().to_string();
    assert!(text.contains("signal 9") && text.contains("batch 0"), "{text}");
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_forked_copy_that_keeps_the_socket_hides_no_death_and_does_not_outlive_it() {
    let host = host();
    let session = rows("def f(v):\n    import os, time\n    child = os.fork()\n    if child == 0:\n        time.sleep(60)\n    return child").open(&host);
    let child = evaluate(&*session, &[0]).unwrap()[0];
    assert!(is_running(child));
    drop(session);
    until("the copy ends with the worker", || !is_running(child));
    let dies = rows("def f(v):\n    import os, time\n    if os.fork() == 0:\n        time.sleep(60)\n    os._exit(4)")
        .open(&host);
    let start = Instant::now();
    assert!(failure(&*dies).contains("exit code 4"));
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_forked_copy_that_returns_from_the_function_does_not_answer() {
    let host = host();
    let session = rows(
        "def f(v):\n    import os, time\n    child = os.fork()\n    if child:\n        time.sleep(0.3)\n    return v",
    )
    .open(&host);
    assert_eq!(evaluate(&*session, &[5]).unwrap(), [5]);
    assert_eq!(evaluate(&*session, &[6]).unwrap(), [6]);
}

#[test]
fn a_function_that_takes_too_long_is_ended_with_its_stack() {
    let host = host();
    let sleeps = Udf {
        definition: "def wait_for_ever():\n    import time\n    time.sleep(60)\ndef f(v):\n    return wait_for_ever() if v else 0",
        eval_type: 101,
        timeout: 0.5,
        more: ("{}", "{}"),
    };
    let session = sleeps.open(&host);
    assert_eq!(evaluate(&*session, &[0]).unwrap(), [0]);
    // The time without a batch does not count.
    thread::sleep(Duration::from_millis(700));
    let start = Instant::now();
    let text = failure(&*session);
    for part in
        ["`f` ran for longer than 0.5 s", "batch 1 of the partition, row 0", "spark.rudf.timeout", "in wait_for_ever"]
    {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn interrupting_a_session_ends_its_worker_at_once() {
    let host = host();
    let process = ask(&host, &PROCESS);
    let session = rows("def f(v):\n    while True: pass").open(&host);
    submit(&*session, &[1]);
    session.interrupt();
    drop(session);
    until("the worker ends", || !is_running(process));
}

#[test]
fn a_session_that_is_dropped_in_mid_batch_ends_a_worker_that_does_not_come_to_an_end() {
    let host = host();
    let process = ask(&host, &PROCESS);
    let session = rows("def f(v):\n    while True: pass").open(&host);
    submit(&*session, &[1]);
    drop(session);
    until("the worker ends", || !is_running(process));
    assert_ne!(ask(&host, &PROCESS), process);
}

#[test]
fn a_session_that_is_dropped_in_mid_batch_keeps_a_worker_that_comes_to_an_end() {
    let host = host();
    let message = PROCESS.message();
    let process = ask(&host, &PROCESS);
    let session = rows("def f(v):\n    import time\n    time.sleep(0.2)\n    return v").open(&host);
    submit(&*session, &[1]);
    submit(&*session, &[2]);
    drop(session);
    // Nobody waits for a worker that is at work.
    let other = harness::open(&host, message.clone()).unwrap();
    assert_ne!(evaluate(&*other, &[0]).unwrap()[0], process);
    thread::sleep(Duration::from_millis(800));
    let one = harness::open(&host, message).unwrap();
    let both = [&one, &other].map(|session| evaluate(&**session, &[0]).unwrap()[0]);
    assert!(both.contains(&process), "{both:?} and {process}");
}

#[test]
fn a_function_with_a_timeout_of_its_own_is_ended_by_it() {
    let host = host();
    let limited = |udf: Udf| Udf { timeout: 60.0, more: ("{}", r#"{"timeout_seconds": 0.5}"#), ..udf };
    let sleeps = limited(rows("def f(v):\n    import time\n    time.sleep(60 * (v == 3))\n    return v"));
    let session = sleeps.open(&host);
    let start = Instant::now();
    let text = failure(&*session);
    for part in ["`f` ran for longer than 0.5 s", "batch 0 of the partition, row 2", "(its timeout)", "in f"] {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
    let whole = limited(arrays("def f(v):\n    import time\n    time.sleep(60)")).open(&host);
    let text = failure(&*whole);
    assert!(text.contains("batch 0 of the partition (its timeout)"), "{text}");
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_session_can_be_interrupted_while_its_functions_are_loaded() {
    let host = host();
    let process = ask(&host, &PROCESS);
    let udf = rows(
        "import time\nclass Slow:\n    def __reduce__(self): return (time.sleep, (60,))\nslow = Slow()\nf = lambda v: slow",
    );
    let session = host.open(udf.message()).unwrap();
    assert!(!session.opened(Duration::from_millis(300)).unwrap());
    let start = Instant::now();
    session.interrupt();
    drop(session);
    until("the worker ends", || !is_running(process));
    assert!(start.elapsed() < Duration::from_secs(2));
    assert_ne!(ask(&host, &PROCESS), process);
}

/// What `rudf replay` says of the file that a failure names, and whether it went well.
fn replayed(text: &str) -> (bool, String) {
    let file = text.rsplit_once("rudf replay ").unwrap().1.trim_end().trim_end_matches(']');
    let output = Command::new(harness::python()).args(["-m", "rudf", "replay", file]).output().unwrap();
    (output.status.success(), [output.stdout, output.stderr].map(|s| String::from_utf8_lossy(&s).into_owned()).concat())
}

#[test]
fn a_batch_that_fails_is_kept_and_can_be_run_again() {
    let host = host();
    let scratch = std::env::temp_dir().join(format!("rudf-kept-{}", std::process::id()));
    let document: &'static str = format!(
        r#"{{"keep": {{"directory": {scratch:?}, "label": "app-20261129165557-0000/stage64-partition0-task7"}}}}"#
    )
    .leak();
    let kept = |udf: Udf| Udf { more: (document, udf.more.1), ..udf };
    let cases = [
        ("def f(v):\n    return 1 // (v - 2)", "ZeroDivisionError"),
        ("def f(v):\n    import ctypes\n    ctypes.string_at(0 if v == 2 else b'x')\n    return v", "in f"),
    ];
    for (definition, seen) in cases {
        for udf in [rows(definition), Udf { timeout: 30.0, ..rows(definition) }] {
            let session = kept(udf).open(&host);
            let text = failure(&*session);
            assert!(text.contains("rudf-app-20261129165557-0000_stage64-partition0-task7-f-batch0"), "{text}");
            let (well, said) = replayed(&text);
            assert!(!well && said.contains(seen) && said.contains("3 rows"), "{said}");
        }
    }
    let slow = Udf { timeout: 0.5, ..kept(rows("def f(v):\n    import time\n    time.sleep(60)")) };
    let text = failure(&*slow.open(&host));
    let (well, said) = replayed(&text);
    assert!(!well && said.contains("in f") && said.contains("Timeout"), "{said}");
    // What failed for a reason that is gone does not fail again.
    let dies = kept(rows(
        "def f(v):\n    import os\n    return v if os.environ.get('PYTHONHASHSEED') != '0' else os._exit(3)",
    ));
    let text = failure(&*dies.open(&host));
    let (well, said) = replayed(&text);
    assert!(well && said.contains("no failure"), "{said}");
    use std::os::unix::fs::PermissionsExt;
    for file in std::fs::read_dir(&scratch).unwrap() {
        assert_eq!(file.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    std::fs::remove_dir_all(&scratch).unwrap();
}

#[test]
fn a_batch_that_cannot_be_kept_takes_nothing_from_the_failure() {
    let host = host();
    let document = r#"{"keep": {"directory": "/proc/no/such", "label": "x"}}"#;
    for definition in ["def f(v):\n    1 / 0", "def f(v):\n    import os\n    os._exit(3)"] {
        let text = failure(&*Udf { more: (document, "{}"), ..rows(definition) }.open(&host));
        assert!(text.contains("could not be kept: /proc/no/such"), "{text}");
        assert!(text.contains("ZeroDivisionError") || text.contains("exit code 3"), "{text}");
    }
}

#[test]
fn a_fork_server_that_is_killed_takes_its_workers_along_and_is_replaced() {
    let host = host();
    let server = ask(&host, &SERVER);
    let session = rows("def f(v):\n    import time\n    time.sleep(60)").open(&host);
    submit(&*session, &[1]);
    signal(server, "KILL");
    let text = take(&*session).unwrap_err().to_string();
    assert!(text.contains("died in batch 0"), "{text}");
    assert_ne!(ask(&host, &SERVER), server);
}

#[test]
fn the_memory_limit_ends_a_functions_appetite_and_nothing_else() {
    let mut config = harness::config();
    config.environment.insert("PYSPARK_EXECUTOR_MEMORY_MB".to_owned(), "2000".to_owned());
    let host = ProcessHost::start(config).unwrap();
    fails(&host, "def f(v):\n    return len(bytearray(3 << 30))", &["MemoryError"]);
}

/// Less than numpy, pandas and pyarrow take: enough for functions that want none of them, as in PySpark.
#[test]
fn a_small_memory_limit_is_enough_for_a_function_of_rows() {
    let mut config = harness::config();
    config.environment.insert("PYSPARK_EXECUTOR_MEMORY_MB".to_owned(), "200".to_owned());
    let host = ProcessHost::start(config).unwrap();
    let values: Vec<i64> = (0..100_000).collect();
    assert_eq!(evaluate(&*rows("f = lambda v: v").open(&host), &values).unwrap(), values);
    fails(&host, "def f(v):\n    return len(bytearray(1 << 30))", &["MemoryError"]);
}

#[test]
fn a_crash_while_a_function_is_loaded_is_told() {
    let host = host();
    let udf = rows(
        "import os\nclass Bad:\n    def __reduce__(self): return (os._exit, (5,))\nbad = Bad()\nf = lambda v: bad",
    );
    match harness::open(&host, udf.message()) {
        Err(NativeError::Crashed(text)) => assert!(text.contains("exit code 5") && text.contains("loaded"), "{text}"),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it opened"),
    }
    assert!(ask(&host, &PROCESS) > 0);
}

#[test]
fn a_python_that_cannot_serve_is_refused_with_the_reason() {
    for (python, why) in [("/no/such/python", "cannot be started"), ("/bin/true", "before it was ready")] {
        let mut config = harness::config();
        config.python = python.to_owned();
        let error = ProcessHost::start(config).and_then(|host| host.describe()).unwrap_err();
        assert!(
            matches!(&error, NativeError::Environment(text) if text.contains(why) && text.contains(python)),
            "{error}"
        );
    }
    let mut config = harness::config();
    config.package_directory = "/no/such/directory".to_owned();
    config.environment.insert("PYTHONNOUSERSITE".to_owned(), "1".to_owned());
    config.environment.insert("PYTHONPATH".to_owned(), String::new());
    config.python = "/usr/bin/python3".to_owned();
    let error = ProcessHost::start(config).and_then(|host| host.describe()).unwrap_err().to_string();
    assert!(error.contains("ModuleNotFoundError") && error.contains("rudf"), "{error}");
}

#[test]
fn an_array_over_memory_that_is_gone_ends_its_worker_and_nothing_else() {
    let host = host();
    let udf = arrays(
        "def f(v):\n    import ctypes, pyarrow as pa\n    libc = ctypes.CDLL(None)\n    libc.mmap.restype = ctypes.c_void_p\n\
         \x20   at = libc.mmap(None, ctypes.c_size_t(4096), 3, 0x22, -1, ctypes.c_long(0))\n\
         \x20   gone = pa.Array.from_buffers(pa.int64(), len(v), [None, pa.foreign_buffer(at, 4096)])\n\
         \x20   libc.munmap(ctypes.c_void_p(at), ctypes.c_size_t(4096))\n    return gone",
    );
    let text = failure(&*udf.open(&host));
    assert!(text.contains("signal 11 (SIGSEGV)") && text.contains("`f`"), "{text}");
    assert_eq!(evaluate(&*rows("f = lambda v: v + 1").open(&host), &[1]).unwrap(), [2]);
}

#[test]
fn a_worker_that_is_refused_memory_says_so_and_is_not_used_again() {
    let host = host();
    let process = ask(&host, &PROCESS);
    let udf =
        rows("def f(v):\n    import resource\n    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))\n    return v");
    // More than the segment holds that it has already.
    let values: Vec<i64> = (0..500_000).collect();
    let text = evaluate(&*udf.open(&host), &values).unwrap_err().to_string();
    assert!(text.contains("memfd_create"), "{text}");
    until("the worker is ended", || !is_running(process));
    assert_ne!(ask(&host, &PROCESS), process);
}

/// Not a test of its own: a process that may open no more files.
#[test]
#[ignore = "is run by another test"]
#[allow(clippy::print_stdout, reason = "the other test reads it")]
fn refused_memory() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let host = host();
    let message = PROCESS.message();
    let session = harness::open(&host, message.clone()).unwrap();
    assert!(evaluate(&*session, &[0]).unwrap()[0] > 0);
    let before = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(3), maximum: before.maximum }).unwrap();
    let (none, large) = (host.open(message.clone()).err().unwrap(), session.acquire(64 << 20).unwrap_err());
    setrlimit(Resource::Nofile, before).unwrap();
    assert!(matches!(&none, NativeError::Environment(_)), "{none:?}");
    assert!(evaluate(&*session, &[0]).unwrap()[0] > 0);
    assert!(evaluate(&*harness::open(&host, message).unwrap(), &[0]).unwrap()[0] > 0);
    println!("refused: {none}; {large}");
}

#[test]
fn an_executor_that_is_refused_memory_says_so_and_goes_on_when_it_gets_some() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "refused_memory", "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.matches("memfd_create").count() == 2, "{said}");
}

#[test]
fn a_flood_of_output_does_no_harm() {
    let host = host();
    let udf = rows(
        "def f(v):\n    import os, sys\n    null = os.open('/dev/null', os.O_WRONLY)\n    os.dup2(null, 1)\n\
         \x20   for _ in range(20_000):\n        print('x' * 1000)\n    return v",
    );
    assert_eq!(evaluate(&*udf.open(&host), &[1]).unwrap(), [1]);
    assert_eq!(evaluate(&*rows("f = lambda v: v + 1").open(&host), &[1]).unwrap(), [2]);
}

/// Not a test of its own: the process that [`nothing_outlives_an_executor_that_is_killed`] kills.
#[test]
#[ignore = "is run by another test"]
#[allow(clippy::print_stdout, reason = "the other test reads it")]
fn executor() {
    let host = host();
    let (server, process) = (ask(&host, &SERVER), ask(&host, &PROCESS));
    let session = rows("def f(v):\n    import subprocess\n    subprocess.run(['sleep', '60'])").open(&host);
    submit(&*session, &[1]);
    thread::sleep(Duration::from_secs(1));
    println!("processes {server} {process}");
    thread::sleep(Duration::from_secs(60));
}

#[test]
fn nothing_outlives_an_executor_that_is_killed() {
    let mut executor = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "executor", "--ignored", "--nocapture"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(executor.stdout.take().unwrap()).lines().map_while(Result::ok);
    let line = lines.find(|line| line.contains("processes ")).unwrap();
    let numbers: Vec<i64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [server, process] = numbers[..] else { panic!("{line}") };
    let children = std::fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap();
    let child: i64 = children.trim().parse().unwrap();
    assert!([server, process, child].into_iter().all(is_running));
    executor.kill().unwrap();
    executor.wait().unwrap();
    let start = Instant::now();
    until("all of them end", || ![server, process, child].into_iter().any(is_running));
    assert!(start.elapsed() < Duration::from_secs(3));
}
