//! What the process host promises of workers, segments and their reuse, with a real Python.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use harness::{PROCESS, SERVER, Udf, arrays, ask, evaluate, host, is_running, rows, submit, take, until};
use rudf_jvm::{host::WorkerHost, process::ProcessHost};

#[test]
fn batches_come_back_in_order_while_several_are_under_way() {
    let host = host();
    let session = rows("f = lambda v: v * 2").open(&host);
    for first in 0..3 {
        submit(&*session, &[first, first + 1]);
    }
    for first in 0..1000 {
        assert_eq!(take(&*session).unwrap(), [2 * first, 2 * first + 2]);
        submit(&*session, &[first + 3, first + 4]);
    }
    assert_eq!(evaluate(&*rows("f = lambda v: v").open(&host), &[]).unwrap(), [0; 0]);
}

#[test]
fn large_batches_grow_segments_of_their_own() {
    let host = host();
    let session = arrays("f = lambda v: v").open(&host);
    for length in [1, 1_000_000, 10, 2_000_000] {
        let values: Vec<i64> = (0..length).collect();
        assert_eq!(evaluate(&*session, &values).unwrap(), values);
    }
}

#[test]
fn arrays_that_a_function_keeps_keep_their_values_over_batches_and_sessions() {
    let host = host();
    let keeps = arrays(
        "def f(v):\n    import builtins, pyarrow as pa\n    kept = builtins.__dict__.setdefault('kept', [])\n\
         \x20   kept.append((v, v.to_pylist()))\n    same = all(a.to_pylist() == b for a, b in kept)\n\
         \x20   return pa.array([len(kept) if same else -1] * len(v))",
    );
    for batch in 0..200 {
        let session = keeps.open_cached(&host);
        for part in 0..3 {
            let seen = evaluate(&*session, &[batch, part, 7]).unwrap();
            assert_eq!(seen, [3 * batch + part + 1; 3]);
        }
    }
}

impl Udf {
    fn open_cached(&self, host: &ProcessHost) -> Box<dyn rudf_jvm::host::WorkerSession> {
        use std::sync::OnceLock;
        static MESSAGE: OnceLock<Vec<u8>> = OnceLock::new();
        host.open(MESSAGE.get_or_init(|| self.message()).clone()).unwrap()
    }
}

#[test]
fn a_worker_serves_one_session_after_another_and_unpickles_a_function_once() {
    let host = host();
    let (first, second) = (ask(&host, &PROCESS), ask(&host, &PROCESS));
    assert_eq!(first, second);
    let counts = rows(
        "import builtins\n\
         class Counted:\n    def __init__(self): self.n = 0\n    def __setstate__(self, state):\n        import builtins\n\
         \x20       builtins.__dict__['loads'] = builtins.__dict__.get('loads', 0) + 1\n        self.__dict__ = state\n\
         \x20   def __getstate__(self): return {'n': 1}\n\
         counted = Counted()\n\
         def f(v):\n    import builtins\n    return counted.n * builtins.__dict__['loads']",
    );
    let message = counts.message();
    for _ in 0..5 {
        assert_eq!(evaluate(&*host.open(message.clone()).unwrap(), &[0]).unwrap(), [1]);
    }
}

#[test]
fn sessions_that_overlap_have_workers_of_their_own() {
    let host = host();
    let message = PROCESS.message();
    let sessions: Vec<_> = (0..16).map(|_| host.open(message.clone()).unwrap()).collect();
    let mut processes: Vec<_> = sessions.iter().map(|session| evaluate(&**session, &[0]).unwrap()[0]).collect();
    processes.sort_unstable();
    processes.dedup();
    assert_eq!(processes.len(), 16);
    drop(sessions);
    // No more than eight may wait.
    until("the surplus ends", || processes.iter().filter(|process| is_running(**process)).count() <= 8);
}

#[test]
fn a_worker_in_which_something_was_left_behind_is_not_used_again() {
    let host = host();
    for leaves in [
        "def f(v):\n    import os, threading, time\n    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n    return os.getpid()",
        "def f(v):\n    import os, subprocess\n    subprocess.Popen(['sleep', '60'])\n    return os.getpid()",
    ] {
        let process = ask(&host, &rows(leaves));
        assert_ne!(ask(&host, &PROCESS), process);
        until("the worker is ended", || !is_running(process));
    }
}

#[test]
fn idle_workers_end_after_a_while() {
    let mut config = harness::config();
    config.idle_seconds = 1;
    let host = ProcessHost::start(config).unwrap();
    let process = ask(&host, &PROCESS);
    until("the worker is ended", || !is_running(process));
}

#[test]
fn many_short_sessions_leave_descriptors_and_processes_flat() {
    let host = host();
    let message = rows("f = lambda v: v").message();
    let once = || assert_eq!(evaluate(&*host.open(message.clone()).unwrap(), &[5]).unwrap(), [5]);
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let server = ask(&host, &SERVER);
    let children = || std::fs::read_to_string(format!("/proc/{server}/task/{server}/children")).unwrap();
    once();
    let before = (descriptors(), children());
    for _ in 0..2000 {
        once();
    }
    // Other tests of this process open descriptors too, but not hundreds.
    assert!(descriptors() < before.0 + 200, "{} descriptors, {} before", descriptors(), before.0);
    assert_eq!(children(), before.1);
}

#[test]
fn a_worker_has_nothing_of_the_executors() {
    let host = host();
    let standard_input = rows("def f(v):\n    import sys\n    return len(sys.stdin.read())");
    assert_eq!(ask(&host, &standard_input), 0);
    // What a program that the function starts finds open: the three standard ones and the listing itself.
    let inherited = rows(
        "def f(v):\n    import subprocess\n    command = ['ls', '/proc/self/fd']\n\
         \x20   return len(subprocess.run(command, capture_output=True, close_fds=False).stdout.split())",
    );
    assert_eq!(ask(&host, &inherited), 4);
    let handlers =
        rows("def f(v):\n    import signal\n    return int(signal.getsignal(2) is signal.default_int_handler)");
    assert_eq!(ask(&host, &handlers), 1);
}

#[test]
fn workers_draw_different_random_numbers() {
    let host = host();
    for draws in [
        "def f(v):\n    import random\n    return random.getrandbits(60)",
        "def f(v):\n    import numpy.random\n    return int(numpy.random.randint(1 << 60))",
    ] {
        let message = rows(draws).message();
        let sessions = [host.open(message.clone()).unwrap(), host.open(message).unwrap()];
        let drawn = sessions.map(|session| evaluate(&*session, &[0, 0]).unwrap());
        assert_ne!(drawn[0], drawn[1]);
    }
}

#[test]
fn modules_that_start_threads_are_left_to_the_workers() {
    let directory = std::env::temp_dir().join(format!("rudf-threads-{}", std::process::id()));
    std::fs::create_dir_all(directory.join("numpy")).unwrap();
    let starts = "import threading, time\ntime.sleep(1)\n\
                  threading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n";
    std::fs::write(directory.join("numpy/__init__.py"), starts).unwrap();
    let mut config = harness::config();
    config.environment.insert("PYTHONPATH".to_owned(), directory.display().to_string());
    let host = ProcessHost::start(config).unwrap();
    // Forked before the import, and there after the server has started itself again.
    let early = PROCESS.open(&host);
    let server = ask(&host, &SERVER);
    let threads = || std::fs::read_dir(format!("/proc/{server}/task")).unwrap().count();
    let commands = || std::fs::read_to_string(format!("/proc/{server}/environ")).unwrap();
    until("the server starts itself again", || commands().contains("RUDF_FORK_SERVER_SKIPS"));
    assert!(evaluate(&*early, &[0]).unwrap()[0] > 0);
    drop(early);
    let imports = "def f(v):\n    import os, sys\n    return os.getpid() if 'numpy' not in sys.modules else 0";
    assert!(ask(&host, &rows(imports)) > 0);
    assert_eq!(threads(), 1);
    let dies = rows("def f(v):\n    import os\n    os._exit(7)").open(&host);
    assert!(harness::failure(&*dies).contains("exit code 7"));
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn stopping_the_host_ends_all_of_its_processes() {
    let host = host();
    let (server, process) = (ask(&host, &SERVER), ask(&host, &PROCESS));
    assert!(is_running(server) && is_running(process));
    host.stop();
    until("they end", || !is_running(server) && !is_running(process));
    assert!(host.open(PROCESS.message()).err().unwrap().to_string().contains("has ended"));
}
