//! What the process host promises of workers, segments and their reuse, with a real Python.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::{thread, time::Duration};

use harness::{PROCESS, SERVER, Udf, arrays, ask, evaluate, host, is_running, open, rows, submit, take, until};
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
        open(host, MESSAGE.get_or_init(|| self.message()).clone()).unwrap()
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
        assert_eq!(evaluate(&*open(&host, message.clone()).unwrap(), &[0]).unwrap(), [1]);
    }
}

#[test]
fn a_function_that_a_session_has_changed_is_another_ones_own() {
    let host = host();
    for definition in [
        "n = 0\ndef f(v):\n    global n\n    n += 1\n    return n",
        "import itertools\ncount = itertools.count(1)\ndef f(v):\n    return next(count)",
        "seen = []\ndef f(v):\n    seen.append(v)\n    return len(seen)",
        "def f(v):\n    f.n = getattr(f, 'n', 0) + 1\n    return f.n",
        "class C:\n    n = 0\ndef f(v):\n    C.n += 1\n    return C.n",
        "def made():\n    n = 0\n    def f(v):\n        nonlocal n\n        n += 1\n        return n\n    return f\nf = made()",
        "def f(v, seen=[]):\n    seen.append(v)\n    return len(seen)",
        "def numbers():\n    yield 1\n    yield 2\n    yield 1\nclass C:\n    def __init__(self): self.it = None\n\
         c = C()\ndef f(v):\n    c.it = c.it or numbers()\n    return next(c.it)",
    ] {
        let message = rows(definition).message();
        for _ in 0..3 {
            assert_eq!(evaluate(&*open(&host, message.clone()).unwrap(), &[7, 7]).unwrap(), [1, 2], "{definition}");
        }
    }
    let random = rows("import random\nrng = random.Random(42)\ndef f(v):\n    return rng.getrandbits(60)").message();
    let drawn = [(); 3].map(|()| evaluate(&*open(&host, random.clone()).unwrap(), &[0, 0]).unwrap());
    assert!(drawn[0] == drawn[1] && drawn[1] == drawn[2]);
}

#[test]
fn what_a_function_changes_of_its_process_is_as_it_was_for_the_next() {
    let host = host();
    let changes = rows(
        "def f(v):\n    import faulthandler, os, signal, sys\n    os.chdir('/')\n    os.environ['CHANGED'] = 'yes'\n\
         \x20   del os.environ['OMP_NUM_THREADS']\n    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n\
         \x20   signal.signal(signal.SIGINT, lambda *_: None)\n    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])\n\
         \x20   signal.alarm(1)\n    faulthandler.disable()\n    sys.stdout = None\n    sys.path.clear()\n    return os.getpid()",
    );
    let looks = rows(
        "def f(v):\n    import faulthandler, os, signal, sys\n    import json.tool\n    as_it_was = (os.getcwd() != '/', 'CHANGED' not in os.environ,\n\
         \x20       os.environ['OMP_NUM_THREADS'] == '1', signal.getsignal(signal.SIGTERM) == signal.SIG_DFL,\n\
         \x20       signal.getsignal(signal.SIGINT) is signal.default_int_handler,\n\
         \x20       not signal.pthread_sigmask(signal.SIG_BLOCK, ()), faulthandler.is_enabled(), sys.stdout is not None)\n\
         \x20   return os.getpid() if all(as_it_was) else -sum(1 << i for i, ok in enumerate(as_it_was) if not ok)",
    );
    assert_eq!(ask(&host, &changes), ask(&host, &looks));
    let gone = rows(
        "def f(v):\n    import os, tempfile\n    d = tempfile.mkdtemp()\n    os.chdir(d)\n    os.rmdir(d)\n    return os.getpid()",
    );
    assert_eq!(ask(&host, &gone), ask(&host, &looks));
    // Python still writes down where it is.
    let session = rows("def f(v):\n    import ctypes\n    ctypes.string_at(0)").open(&host);
    assert!(harness::failure(&*session).contains("in f"));
}

/// What is set for a process or its main thread, in one number.
const SETTINGS: Udf = rows(
    "def f(v):\n    import decimal, gc, locale, os, resource, signal, sys, time, zlib\n    import numpy\n\
     \x20   mask = os.umask(0o22)\n    os.umask(mask)\n    named = [getattr(resource, n) for n in dir(resource) if n.startswith('RLIMIT_')]\n\
     \x20   told = (mask, [resource.getrlimit(n) for n in named], os.getpriority(os.PRIO_PROCESS, 0), os.sched_getaffinity(0),\n\
     \x20       locale.setlocale(locale.LC_ALL), time.tzname, time.localtime(0)[:5], gc.isenabled(), gc.get_threshold(),\n\
     \x20       decimal.getcontext(), sys.getrecursionlimit(), sys.gettrace(), sys.getprofile(), sys.getswitchinterval(),\n\
     \x20       [signal.getitimer(n) for n in range(3)], numpy.geterr(), os.readlink('/proc/self/fd/0'),\n\
     \x20       [os.fstat(n).st_ino for n in range(3)])\n\
     \x20   return zlib.crc32(repr(told).encode())",
);

/// Changes the n-th of them, and returns how many there are.
const CHANGES: Udf = rows(
    "changes = [\n\
     \x20   \"import os; os.umask(0o777)\",\n\
     \x20   \"import resource as r; r.setrlimit(r.RLIMIT_NOFILE, (20, r.getrlimit(r.RLIMIT_NOFILE)[1]))\",\n\
     \x20   \"import resource as r; r.setrlimit(r.RLIMIT_CPU, (1000, 1000))\",\n\
     \x20   \"import os; os.nice(1)\",\n\
     \x20   \"import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\",\n\
     \x20   \"import locale; locale.setlocale(locale.LC_ALL, 'C.UTF-8')\",\n\
     \x20   \"import os, time; os.environ['TZ'] = 'Asia/Tokyo'; time.tzset()\",\n\
     \x20   \"import os, time; os.environ['TZ'] = 'Asia/Tokyo'; time.tzset(); del os.environ['TZ']\",\n\
     \x20   \"import sys; sys.settrace(lambda *a: None)\",\n\
     \x20   \"import sys; sys.setprofile(lambda *a: None)\",\n\
     \x20   \"import sys; sys.setrecursionlimit(5000)\",\n\
     \x20   \"import sys; sys.setswitchinterval(1)\",\n\
     \x20   \"import gc; gc.disable(); gc.set_threshold(1)\",\n\
     \x20   \"import decimal; decimal.getcontext().prec = 3\",\n\
     \x20   \"import numpy; numpy.seterr(all='raise')\",\n\
     \x20   \"import signal; signal.setitimer(signal.ITIMER_PROF, 90); signal.setitimer(signal.ITIMER_VIRTUAL, 90)\",\n\
     \x20   \"import os; os.closerange(0, 3)\",\n\
     \x20   \"import os; n = os.open('/', os.O_RDONLY); os.dup2(n, 0); os.dup2(n, 1); os.dup2(n, 2); os.close(n)\",\n\
     ]\n\
     def f(v):\n    exec(changes[v], {})\n    return len(changes)",
);

#[test]
fn what_is_set_for_a_process_is_as_it_was_for_the_next() {
    let host = host();
    let (look, change) = (SETTINGS.message(), CHANGES.message());
    let before = evaluate(&*open(&host, look.clone()).unwrap(), &[0]).unwrap();
    for number in 0..18 {
        let session = open(&host, change.clone()).unwrap();
        let changed = evaluate(&*session, &[number]).unwrap();
        drop(session);
        let after = evaluate(&*open(&host, look.clone()).unwrap(), &[0]).unwrap();
        assert_eq!((after, changed), (before.clone(), vec![18]), "change {number}");
    }
}

#[test]
fn sixty_four_sessions_run_at_once() {
    let host = host();
    let message = rows("def f(v):\n    import time\n    time.sleep(0.02)\n    return v * 2").message();
    thread::scope(|scope| {
        let tasks: Vec<_> = (0..64)
            .map(|task| {
                let (host, message) = (&host, message.clone());
                scope.spawn(move || evaluate(&*open(host, message).unwrap(), &[task, 7]).unwrap())
            })
            .collect();
        for (task, result) in (0..64).zip(tasks) {
            assert_eq!(result.join().unwrap(), [2 * task, 14]);
        }
    });
}

/// Kilobytes of a process that are its own, and its descriptors.
fn size(process: i64) -> (i64, usize) {
    let told = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = told.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    let kilobytes = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    (kilobytes, std::fs::read_dir(format!("/proc/{process}/fd")).unwrap().count())
}

#[test]
fn ten_thousand_batches_leave_memory_and_descriptors_flat_on_both_sides() {
    let host = host();
    let process = ask(&host, &PROCESS);
    let session = rows("f = lambda v: v").open(&host);
    let values: Vec<i64> = (0..500).collect();
    let sizes = || [size(process), size(i64::from(std::process::id()))];
    let mut early = sizes();
    for batch in 0..10_000 {
        if batch == 1000 {
            early = sizes();
        }
        assert_eq!(evaluate(&*session, &values).unwrap(), values);
    }
    for ((before, files), (after, files_after)) in early.into_iter().zip(sizes()) {
        // Other tests run in this process too.
        assert!(
            after < before + 30_000 && files_after < files + 200,
            "{before} kB became {after}, {files} files {files_after}"
        );
    }
}

#[test]
fn sessions_that_overlap_have_workers_of_their_own() {
    let host = host();
    let message = PROCESS.message();
    let sessions: Vec<_> = (0..16).map(|_| open(&host, message.clone()).unwrap()).collect();
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
fn the_server_of_a_session_ends_after_a_while_and_comes_back() {
    let mut config = harness::config();
    config.directory = Some(std::env::temp_dir().display().to_string());
    config.idle_seconds = 1;
    let host = ProcessHost::start(config).unwrap();
    let server = ask(&host, &SERVER);
    let session = PROCESS.open(&host);
    thread::sleep(Duration::from_secs(4));
    assert!(is_running(server), "it has a worker");
    drop(session);
    until("the server is ended", || !is_running(server));
    let here = rows("import os, tempfile\nf = lambda v: int(os.path.samefile(os.getcwd(), tempfile.gettempdir()))");
    assert_eq!(ask(&host, &here), 1);
}

#[test]
fn workers_are_not_used_again_where_none_may_wait() {
    let mut config = harness::config();
    config.most_idle = 0;
    let host = ProcessHost::start(config).unwrap();
    let process = ask(&host, &PROCESS);
    until("the worker is ended", || !is_running(process));
    assert_ne!(ask(&host, &PROCESS), process);
}

#[test]
fn ten_thousand_short_sessions_leave_descriptors_memory_and_processes_flat() {
    let host = host();
    let message = rows("f = lambda v: v").message();
    let once = || assert_eq!(evaluate(&*open(&host, message.clone()).unwrap(), &[5]).unwrap(), [5]);
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let server = ask(&host, &SERVER);
    let children = || std::fs::read_to_string(format!("/proc/{server}/task/{server}/children")).unwrap();
    once();
    let mut server_size = size(server);
    until("the server has imported what it imports", || {
        thread::sleep(Duration::from_millis(500));
        let earlier = std::mem::replace(&mut server_size, size(server));
        earlier == server_size
    });
    let before = (descriptors(), children());
    for _ in 0..10_000 {
        once();
    }
    let grown = size(server);
    assert!(grown.0 < server_size.0 + 2000 && grown.1 <= server_size.1 + 8, "{server_size:?} became {grown:?}");
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
        let sessions = [open(&host, message.clone()).unwrap(), open(&host, message).unwrap()];
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
